package lfs

import (
	"strings"
	"testing"
)

const (
	version = "version https://git-lfs.github.com/spec/v1\n"
	digits  = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, in string
		size     int64 // -1 if it is no pointer
	}{
		{"as git-lfs writes it", version + "oid sha256:" + digits + "\nsize 12345\n", 12345},
		{"no line break at the end", version + "oid sha256:" + digits + "\nsize 0", 0},
		{"with an extension", version + "ext-0-x sha256:0\noid sha256:" + digits + "\nsize 1\n", 1},
		{"of the first releases", "version https://hawser.github.com/spec/v1\noid sha256:" + digits + "\nsize 1\n", 1},
		{"empty", "", -1},
		{"version not first", "oid sha256:" + digits + "\n" + version + "size 1\n", -1},
		{"other version", "version https://example.com/spec/v1\noid sha256:" + digits + "\nsize 1\n", -1},
		{"no id", version + "size 1\n", -1},
		{"no size", version + "oid sha256:" + digits + "\n", -1},
		{"other hash", version + "oid md5:" + digits + "\nsize 1\n", -1},
		{"short id", version + "oid sha256:" + digits[1:] + "\nsize 1\n", -1},
		{"upper case", version + "oid sha256:" + strings.ToUpper(digits) + "\nsize 1\n", -1},
		{"not hex", version + "oid sha256:" + strings.Repeat("x", 64) + "\nsize 1\n", -1},
		{"negative size", version + "oid sha256:" + digits + "\nsize -1\n", -1},
		{"signed size", version + "oid sha256:" + digits + "\nsize +1\n", -1},
		{"no number", version + "oid sha256:" + digits + "\nsize \n", -1},
		{"size beyond 63 bits", version + "oid sha256:" + digits + "\nsize 9223372036854775808\n", -1},
		{"too long", version + "oid sha256:" + digits + "\nsize 1\n" + strings.Repeat("x", 200), -1},
	} {
		got, ok := Parse([]byte(tc.in))
		if ok != (tc.size >= 0) || ok && (got.Size != tc.size || got.OID != digits) {
			t.Errorf("%s: %+v, %v", tc.name, got, ok)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(version + "oid sha256:" + digits + "\nsize 12345\n"))
	f.Add([]byte("version https://hawser.github.com/spec/v1\noid \nsize"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if p, ok := Parse(in); ok && (len(p.OID) != 64 || p.Size < 0) {
			t.Errorf("Parse(%q) = %+v", in, p)
		}
	})
}
