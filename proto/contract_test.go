package proto_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// contract is the part of wire/gitaly-contract.json that this module implements.
type contract struct {
	Options  []option           `json:"custom_options"`
	Services map[string]service `json:"services"`
	Messages map[string]message `json:"messages"`
	Enums    map[string]enum    `json:"enums"`
}

type option struct {
	Extends string `json:"extends"`
	Number  int    `json:"n"`
	Name    string `json:"name"`
	Type    string `json:"type"`
}

type service struct {
	File        string   `json:"file"`
	Intercepted bool     `json:"intercepted"`
	Methods     []method `json:"methods"`
}

type method struct {
	Name         string `json:"name"`
	Request      string `json:"request"`
	Response     string `json:"response"`
	ClientStream bool   `json:"cs"`
	ServerStream bool   `json:"ss"`
	Op           string `json:"op"`
	Scope        string `json:"scope"`
	Target       string `json:"target"`
	Additional   string `json:"additional"`
	Storage      string `json:"storage"`
	Deprecated   bool   `json:"deprecated"`
}

type message struct {
	File          string   `json:"file"`
	Fields        []field  `json:"fields"`
	Reserved      []string `json:"reserved"`
	ReservedNames []string `json:"reserved_names"`
}

type field struct {
	Number     int      `json:"n"`
	Name       string   `json:"name"`
	Type       string   `json:"type"`
	Label      string   `json:"label"`
	Oneof      string   `json:"oneof"`
	Optional   bool     `json:"optional"`
	Deprecated bool     `json:"deprecated"`
	Opts       []string `json:"opts"`
}

type enum struct {
	File   string  `json:"file"`
	Values []value `json:"values"`
}

type value struct {
	Number int    `json:"n"`
	Name   string `json:"name"`
}

// facts maps each thing that has a number or a name on the wire to all that the
// contract says about it, so that two surfaces compare key by key.
type facts map[string]string

func (c contract) facts() facts {
	f := facts{}
	for _, o := range c.Options {
		f[fmt.Sprintf("option %s %d", o.Extends, o.Number)] = o.Name + " " + o.Type
	}
	for name, s := range c.Services {
		f["service "+name] = fmt.Sprintf("file=%s intercepted=%t", s.File, s.Intercepted)
		for _, m := range s.Methods {
			f["method "+name+"/"+m.Name] = fmt.Sprintf("%+v", m)
		}
	}
	for name, m := range c.Messages {
		f["message "+name] = fmt.Sprintf("file=%s reserved=%v %v", m.File, m.Reserved, m.ReservedNames)
		for _, fd := range m.Fields {
			slices.Sort(fd.Opts)
			f[fmt.Sprintf("field %s %d", name, fd.Number)] = fmt.Sprintf("%+v", fd)
		}
	}
	for name, e := range c.Enums {
		f["enum "+name] = "file=" + e.File
		for _, v := range e.Values {
			f[fmt.Sprintf("value %s %d", name, v.Number)] = v.Name
		}
	}
	return f
}

// diff lists, in order, what is missing from got, extra in it, or different.
func diff(want, got facts) []string {
	var out []string
	for k, w := range want {
		g, ok := got[k]
		switch {
		case !ok:
			out = append(out, fmt.Sprintf("missing %s: %s", k, w))
		case g != w:
			out = append(out, fmt.Sprintf("changed %s: got %s, want %s", k, g, w))
		}
	}
	for k, g := range got {
		if _, ok := want[k]; !ok {
			out = append(out, fmt.Sprintf("extra %s: %s", k, g))
		}
	}
	slices.Sort(out)
	return out
}

func readContract(tb testing.TB) contract {
	tb.Helper()
	raw, err := os.ReadFile("testdata/contract.json")
	if err != nil {
		tb.Fatalf("read the contract: %v", err)
	}
	var c contract
	if err := json.Unmarshal(raw, &c); err != nil {
		tb.Fatalf("parse the contract: %v", err)
	}
	return c
}

func TestContract(t *testing.T) {
	t.Parallel()
	want, got := readContract(t).facts(), describe(t, compiled(t))
	if d := diff(want, got); len(d) > 0 {
		t.Errorf("our descriptors differ from the contract in %d places:\n%s", len(d), strings.Join(d, "\n"))
	}
	if len(want) < 700 {
		t.Errorf("contract has %d facts, want at least 700: was testdata/contract.json cut too far?", len(want))
	}
}
