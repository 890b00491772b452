package rpc

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestWireDocument: docs/wire.md lists every message type with its number, every body, every status and the header's fields.
func TestWireDocument(t *testing.T) {
	text, err := os.ReadFile("../docs/wire.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for m := MsgHello; m < MsgMax; m++ {
		rows = append(rows, fmt.Sprintf("| %d | `%v` |", uint16(m), m))
	}
	for s := StatusOK; s <= StatusRefused; s++ {
		rows = append(rows, fmt.Sprintf("| %d | %v |", uint16(s), s))
	}
	for _, m := range messages() {
		if !isList(m) {
			rows = append(rows, fmt.Sprintf("| `%s` |", reflect.TypeOf(m).Elem().Name()))
		}
	}
	rows = append(rows, "| 0 | u32 | magic | `BFS1`", "| 8 | u64 | id |", "| 44 | u32 | errno |", "| 56 | u64 | bulk |")
	for _, row := range rows {
		if !strings.Contains(string(text), "\n"+row) {
			t.Errorf("docs/wire.md has no row %q", row)
		}
	}
	if !strings.Contains(string(text), fmt.Sprintf("of the protocol: %d", ProtocolVersion)) {
		t.Error("docs/wire.md is of another protocol version")
	}
}
