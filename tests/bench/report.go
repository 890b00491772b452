package main

import (
	"cmp"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// This file draws what the table says: latencies, bandwidths and rates of the ways to the data
// side by side (curves).

// picture is something to draw on a canvas of its own size.
type picture struct {
	name          string
	width, height vg.Length
	draw          func(draw.Canvas)
}

// formats are what each picture is written as.
var formats = []string{"svg", "png"}

// drawAll writes the pictures for which there are figures into dir, and returns their paths.
func drawAll(m *measurements, d *document, dir string) ([]string, error) {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	footer := fmt.Sprintf("%s · %s, %d cores · Linux %s · UCX %s · %s · medians of %d rounds", cmp.Or(d.Build.Commit, "unknown build"),
		cmp.Or(d.Machine.CPU, "unknown CPU"), d.Machine.Cores, d.Machine.Kernel, d.Build.UCX, d.Time, d.Rounds)
	var files []string
	for _, p := range pictures(m) {
		for _, format := range formats {
			path := filepath.Join(dir, p.name+"."+format)
			if err := p.write(path, format, footer); err != nil {
				return nil, err
			}
			files = append(files, path)
		}
	}
	return files, nil
}

func (p *picture) write(path, format, footer string) (err error) {
	const margin, footerHeight vg.Length = 10, 12
	canvas, err := draw.NewFormattedCanvas(p.width+2*margin, p.height+2*margin+footerHeight, format)
	if err != nil {
		return err
	}
	all := draw.New(canvas)
	all.SetColor(color.White)
	all.Fill(all.Rectangle.Path())
	p.draw(draw.Crop(all, margin, -margin, margin+footerHeight, -margin))
	style := draw.TextStyle{Color: color.Gray{Y: 110}, Font: font.From(plot.DefaultFont, 7), Handler: plot.DefaultTextHandler, YAlign: draw.YBottom}
	all.FillText(style, vg.Point{X: margin, Y: margin / 2}, footer)
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() {
		if failed := f.Close(); err == nil {
			err = failed
		}
	}()
	_, err = canvas.WriteTo(f)
	return err
}

func pictures(m *measurements) []picture {
	var all []picture
	if reached := evaluatedBars(m); len(reached) > 0 {
		words := vg.Length(len(legend)+1) * legendStep
		height := vg.Length(len(reached)+5)*barStep + words
		all = append(all, picture{"limits", 900, height, func(c draw.Canvas) {
			barPlot(reached).Draw(draw.Crop(c, 0, 0, words, 0))
			drawLegend(c)
		}})
	}
	for _, p := range []struct {
		name   string
		panels []panel
	}{
		{"latency", latencyPanels()}, {"bandwidth", bandwidthPanels()}, {"metadata", metadataPanels()},
	} {
		var plots []*plot.Plot
		for _, panel := range p.panels {
			if drawn := panel.plot(m); drawn != nil {
				plots = append(plots, drawn)
			}
		}
		if len(plots) > 0 {
			all = append(all, picture{p.name, vg.Length(len(plots)) * 380, 330, func(c draw.Canvas) { sideBySide(c, plots) }})
		}
	}
	return all
}

func sideBySide(c draw.Canvas, plots []*plot.Plot) {
	tiles := draw.Tiles{Rows: 1, Cols: len(plots), PadX: 10}
	for i, canvas := range plot.Align([][]*plot.Plot{plots}, tiles, c)[0] {
		plots[i].Draw(canvas)
	}
}

// ==== Curves ====

// panel compares ways to the data: a curve each, over some named points, on a logarithmic scale.
type panel struct {
	title  string
	unit   string
	ways   []string
	points []string
	key    func(way, point string) string // of the series; see measurements
}

// colours of the ways, the same in each picture; what is no BenchFS is grey.
var colours = map[string]color.Color{
	"map": color.Gray{Y: 90}, "tmpfs": color.Gray{Y: 150},
	"embedded": color.RGBA{R: 148, G: 103, B: 189, A: 255}, "shortcut": color.RGBA{R: 31, G: 119, B: 180, A: 255},
	"shm": color.RGBA{R: 44, G: 160, B: 44, A: 255}, "tcp": color.RGBA{R: 214, G: 39, B: 40, A: 255},
}

// wayNames are the curves' names for somebody who has not seen the table.
var wayNames = map[string]string{
	"map": "mapped segment", "tmpfs": "tmpfs", "embedded": "embedded", "shortcut": "same node, shortcut", "shm": "same node, messages", "tcp": "TCP",
}

func latencyPanels() []panel {
	var all []panel
	for _, op := range []string{"rand-read", "rand-write"} {
		all = append(all, panel{
			title: "Random " + strings.TrimPrefix(op, "rand-") + " of 4 KiB", unit: "µs", ways: []string{"tmpfs", "embedded", "shortcut", "shm", "tcp"},
			points: []string{metricP50, metricP99, metricP999}, key: func(way, metric string) string { return way + "/" + op + "/4KiB " + metric },
		})
	}
	return all
}

func bandwidthPanels() []panel {
	var sizes []string
	for _, block := range blockSizes {
		sizes = append(sizes, sizeName(block))
	}
	var all []panel
	for _, op := range []struct{ name, title string }{{"new", "Write to a new file"}, {"over", "Overwrite"}, {"read", "Read"}} {
		all = append(all, panel{
			title: op.title + ", by request size", unit: "GB/s", ways: []string{"map", "tmpfs", "embedded", "shortcut", "shm", "tcp"},
			points: sizes, key: func(way, size string) string { return way + "/" + op.name + "/" + size },
		})
	}
	return all
}

func metadataPanels() []panel {
	return []panel{{
		title: "Metadata, one client", unit: "operations a second", ways: []string{"tmpfs", "embedded", "shortcut", "shm", "tcp"},
		points: []string{"create", "stat", "open", "unlink", "create-3901B", "read-3901B", "readdir"},
		key:    func(way, op string) string { return way + "/meta/" + op },
	}}
}

// curve are the medians of a way, with the spread of the rounds.
type curve struct {
	plotter.XYs
	spread plotter.YErrors
}

func (c *curve) YError(i int) (low, high float64) { return c.spread[i].Low, c.spread[i].High }

func (p *panel) curve(m *measurements, way string) *curve {
	c := &curve{}
	for i, point := range p.points {
		s := m.byKey[p.key(way, point)]
		if s == nil || s.median() <= 0 {
			continue
		}
		low, high := s.spread()
		c.XYs = append(c.XYs, plotter.XY{X: float64(i), Y: s.median()})
		c.spread = append(c.spread, struct{ Low, High float64 }{s.median() - low, high - s.median()})
	}
	return c
}

// plot is nil if nothing of it was measured.
func (p *panel) plot(m *measurements) *plot.Plot {
	drawn := plot.New()
	drawn.Title.Text = p.title
	drawn.Y.Label.Text = p.unit
	drawn.Y.Scale = plot.LogScale{}
	drawn.Y.Tick.Marker = decades{}
	drawn.Legend.Top = true
	drawn.Legend.TextStyle.Font.Size = 8
	drawn.Add(horizontals())
	low, high := math.Inf(1), 0.0
	for _, way := range p.ways {
		c := p.curve(m, way)
		if len(c.XYs) == 0 {
			continue
		}
		for i := range c.XYs {
			low, high = min(low, c.XYs[i].Y-c.spread[i].Low), max(high, c.XYs[i].Y+c.spread[i].High)
		}
		drawCurve(drawn, c, way)
	}
	if high == 0 {
		return nil
	}
	names := append([]string(nil), p.points...)
	drawn.NominalX(names...)
	drawn.X.Tick.Label.Font.Size = 7
	// Above the curves there is room for the legend.
	drawn.Y.Min, drawn.Y.Max = low/1.3, high*math.Pow(high/low, 0.45)*1.3
	drawn.X.Min, drawn.X.Max = -0.3, float64(len(p.points))-0.7
	return drawn
}

func drawCurve(onto *plot.Plot, c *curve, way string) {
	line, points, err := plotter.NewLinePoints(c.XYs)
	if err != nil {
		return // not finite: nothing to draw
	}
	line.Color, line.Width = colours[way], vg.Points(1.5)
	points.Color, points.Shape, points.Radius = colours[way], draw.CircleGlyph{}, vg.Points(2.5)
	onto.Add(line, points)
	onto.Legend.Add(wayNames[way], line, points)
	if spread, err := plotter.NewYErrorBars(c); err == nil {
		spread.Color, spread.CapWidth = colours[way], vg.Points(4)
		onto.Add(spread)
	}
}

func horizontals() *plotter.Grid {
	grid := plotter.NewGrid()
	grid.Vertical.Color = nil
	grid.Horizontal.Color = color.Gray{Y: 225}
	return grid
}

// decades are ticks at 1, 2 and 5 times the powers of ten.
type decades struct{}

func (decades) Ticks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	for exponent := math.Floor(math.Log10(low)); exponent <= math.Ceil(math.Log10(high)); exponent++ {
		for _, digit := range []float64{1, 2, 5} {
			if v := digit * math.Pow(10, exponent); v >= low && v <= high {
				ticks = append(ticks, plot.Tick{Value: v, Label: tickLabel(v)})
			}
		}
	}
	return ticks
}

// tickLabel writes 0.05, 2 or 500 000, without zeros that say nothing.
func tickLabel(v float64) string {
	if v >= 1 {
		return thousands(int64(math.Round(v)))
	}
	return fmt.Sprintf("%.3g", v)
}
