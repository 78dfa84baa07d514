package storage

import (
	"strings"
	"testing"
	"testing/fstest"
)

// index is a file of two chunks, "PNAM" and "RIDX".
const index = "MIDX\x01\x01\x02\x00\x00\x00\x00\x02" +
	"PNAM\x00\x00\x00\x00\x00\x00\x00\x30" + "RIDX\x00\x00\x00\x00\x00\x00\x00\x3c" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x3d" +
	"a.idx\x00b.idx\x00" + "x"

func readNames(data string) (names string, c *chunked, err error) {
	c, err = openChunked(fstest.MapFS{"f": {Data: []byte(data)}}, "f", "MIDX", 12)
	if err != nil {
		return "", nil, err
	}
	defer func() { _ = c.file.Close() }()
	content, err := c.content("PNAM")
	return string(content), c, err
}

func TestChunked(t *testing.T) {
	t.Parallel()
	names, c, err := readNames(index)
	if err != nil || names != "a.idx\x00b.idx\x00" || c.version != 1 || !c.has("PNAM", "RIDX") || c.has("BTMP") {
		t.Fatalf("%q, %+v, %v", names, c, err)
	}
	for name, data := range map[string]string{
		"empty": "", "cut in the head": index[:9], "cut in the table": index[:30], "cut in the chunk": index[:50],
		"another signature":           "CGPH" + index[4:],
		"chunk ends before it begins": strings.Replace(index, "\x3c", "\x2f", 1),
		"chunk beyond the end":        strings.Replace(index, "RIDX\x00", "RIDX\x7f", 1),
		"no such chunk":               strings.Replace(index, "PNAM", "XNAM", 1),
	} {
		if names, _, err := readNames(data); err == nil {
			t.Errorf("%s: %q", name, names)
		}
	}
}

func FuzzChunked(f *testing.F) {
	f.Add(index)
	f.Add(index[:30])
	f.Fuzz(func(t *testing.T, data string) {
		if names, _, err := readNames(data); err == nil && !strings.Contains(data, names) {
			t.Errorf("%q is not in the file", names)
		}
	})
}
