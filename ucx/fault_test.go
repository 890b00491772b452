package ucx

func clientChild() {}
