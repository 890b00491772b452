package inode_test

import (
	"reflect"
	"testing"

	"github.com/benchfs/benchfs/core/layout"
	"github.com/benchfs/benchfs/internal/inode"
)

// TestWords: every field survives, in every bit.
func TestWords(t *testing.T) {
	check := func(a inode.Attr) {
		t.Helper()
		var b inode.Attr
		w := a.Words()
		if b.SetWords(&w); a != b {
			t.Errorf("%+v became %+v", a, b)
		}
	}
	var fill func(v reflect.Value, bits uint64)
	fill = func(v reflect.Value, bits uint64) {
		for i := range v.NumField() {
			switch f := v.Field(i); {
			case f.Kind() == reflect.Struct:
				fill(f, bits)
			case f.CanUint():
				f.SetUint(bits >> (64 - f.Type().Bits()))
			case f.CanInt():
				f.SetInt(int64(bits) >> (64 - f.Type().Bits()))
			default:
				t.Fatalf("a field of kind %v", f.Kind())
			}
		}
	}
	for _, bits := range []uint64{0, 1<<64 - 1, 0x0123456789abcdef, 0x8000000000000001} {
		var a inode.Attr
		fill(reflect.ValueOf(&a).Elem(), bits)
		check(a)
	}
	check(inode.Attr{Ino: 1, Kind: inode.File, Size: 2, Layout: layout.Layout{Strategy: layout.Hash, ChunkBits: 20, Shards: 3}})
}
