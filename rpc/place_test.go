package rpc

import "testing"

func TestPlaceWords(t *testing.T) {
	for _, p := range []Place{
		{},
		{Held: true, Slot: 0, Serial: 1, Segment: 0, Offset: 0, Bytes: 4096},
		{Held: true, Slot: 1<<18 - 1, Serial: 1<<32 - 1, Segment: 1<<20 + 7, Offset: 1<<42 - 4096, Bytes: 64 << 20},
		{Held: true, Slot: 77, Serial: 0, Segment: 3, Offset: 255 << 20, Bytes: 1 << 31},
	} {
		var got Place
		if got.SetWords(p.Words()); got != p {
			t.Errorf("%+v comes back as %+v", p, got)
		}
	}
	for _, p := range []Place{
		{Held: true, Offset: 5, Bytes: 4096},
		{Held: true, Offset: 1 << 42, Bytes: 4096},
		{Held: true, Segment: 1 << 28, Bytes: 4096},
		{Held: true, Slot: 1<<32 - 1, Bytes: 4096},
		{Held: true, Bytes: 12288},
	} {
		var got Place
		if got.SetWords(p.Words()); got.Held {
			t.Errorf("%+v, which has no words, comes back as %+v", p, got)
		}
	}
}
