package main

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// This file draws the picture of the limits: how far each figure is from its bar.

// Heights of a row and of a line of the legend.
const (
	barStep    = vg.Length(15)
	legendStep = vg.Length(11)
)

var (
	colourOK     = color.RGBA{R: 88, G: 166, B: 92, A: 255}
	colourMissed = color.RGBA{R: 214, G: 96, B: 77, A: 255}
)

// evaluatedBars are the bars that were measured, the last one first: that is how they stack.
func evaluatedBars(m *measurements) []evaluated {
	var all []evaluated
	for i := len(bars) - 1; i >= 0; i-- {
		if e, ok := bars[i].evaluate(m); ok {
			all = append(all, e)
		}
	}
	return all
}

// mostShown is how many times better or worse than its bar a figure is shown at most; figures of 0 and below have no place on the axis.
const mostShown = 30

// shown is how long a row is drawn, and where its mark stands: right of it is good. That is the ratio to the limit and the bar, or the inverse of
// both where less is better. A figure without a limit is shown as a part of its bar.
func (e evaluated) shown() (length, mark float64) {
	length, mark = e.ratio, e.bar
	if e.limit == "" {
		length, mark = e.ratio/e.bar, 1
	}
	length = min(max(length, mark/mostShown), mark*mostShown)
	if e.want.lessIsBetter() {
		return 1 / length, 1 / mark
	}
	return length, mark
}

// barPlot has a row for each bar: as long as the ratio, with a mark where it has to be.
func barPlot(all []evaluated) *plot.Plot {
	p := plot.New()
	p.Title.Text = "How far each figure is from its limit, measured within seconds of it"
	p.X.Label.Text = "figure / limit; where less is better (bars with ≤ and <) limit / figure. Right of the mark is good"
	p.X.Label.TextStyle.Font.Size = 9
	p.X.Scale = plot.LogScale{}
	p.X.Tick.Marker = decades{}
	low, high := 1.0, 1.0
	var names []string
	for _, e := range all {
		length, mark := e.shown()
		low, high = min(low, length, mark), max(high, length, mark)
		names = append(names, e.row)
	}
	p.Add(verticals(), &barRows{all})
	p.NominalY(names...)
	p.Y.Tick.Label.Font.Size = 8
	p.Y.Padding = 8
	p.X.Min, p.X.Max = low/2, high*math.Pow(high/low, 0.6) // room for the words behind the longest
	p.Y.Min, p.Y.Max = -0.7, float64(len(all))-0.3
	return p
}

func verticals() *plotter.Grid {
	grid := horizontals()
	grid.Vertical, grid.Horizontal = grid.Horizontal, grid.Vertical
	return grid
}

// barRows draws the rows; it is a plot.Plotter.
type barRows struct{ all []evaluated }

func (b *barRows) Plot(c draw.Canvas, p *plot.Plot) {
	toX, toY := p.Transforms(&c)
	words := p.Y.Tick.Label
	words.XAlign, words.YAlign = draw.XLeft, draw.YCenter
	for i, e := range b.all {
		length, bar := e.shown()
		fill := colourMissed
		if e.verdict == verdictOK {
			fill = colourOK
		}
		x, mark, y := toX(length), toX(bar), toY(float64(i))
		half := barStep * 0.3
		c.FillPolygon(fill, []vg.Point{{X: toX(p.X.Min), Y: y - half}, {X: x, Y: y - half}, {X: x, Y: y + half}, {X: toX(p.X.Min), Y: y + half}})
		c.StrokeLine2(draw.LineStyle{Color: color.Black, Width: 2}, mark, y-1.5*half, mark, y+1.5*half)
		c.FillText(words, vg.Point{X: max(x, mark) + 5, Y: y}, e.words())
	}
}

// words stand behind a row: the ratio as the table has it, not inverted.
func (e evaluated) words() string {
	of := ""
	if e.limit != "" {
		of = " × " + e.limit
	}
	return fmt.Sprintf("%s%s (%s)", figure(e.ratio), of, e.barText())
}

// drawLegend writes what the words of the names mean, from the bottom of the canvas upwards.
func drawLegend(c draw.Canvas) {
	style := draw.TextStyle{Color: color.Gray{Y: 60}, Font: font.From(plot.DefaultFont, 7.5), Handler: plot.DefaultTextHandler, YAlign: draw.YBottom}
	const column = 180
	for i, w := range legend {
		at := vg.Point{X: c.Min.X, Y: c.Min.Y + vg.Length(len(legend)-1-i)*legendStep}
		c.FillText(style, at, w.name)
		at.X += column
		c.FillText(style, at, w.meaning)
	}
}
