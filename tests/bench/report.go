package main

func drawAll(m *measurements, d *document, dir string) ([]string, error) { return nil, nil }
