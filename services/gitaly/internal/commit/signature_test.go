package commit_test

import (
	"bytes"
	"strings"
	"testing"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/commit"
)

func TestSignature(t *testing.T) {
	t.Parallel()
	sha1, sha256 := strings.Repeat("1", 40), strings.Repeat("1", 64)
	const text = "tree t\nauthor a\n"
	for _, tc := range []struct{ name, id, raw, signature, signed string }{
		{"none", sha1, text + "\ngpgsig x\n", "", text + "\ngpgsig x\n"},
		{"at the end", sha1, text + "gpgsig a\n b\n\nm", "a\nb\n", text + "\nm"},
		{"in the middle", sha1, text + "gpgsig a\n b\nx-y z\n z\n\nm", "a\nb\n", text + "x-y z\n z\n\nm"},
		{"own hash first", sha1, text + "gpgsig a\ngpgsig-sha256 b\n\nm", "a\n", text + "\nm"},
		{"own hash last", sha256, text + "gpgsig a\n a\ngpgsig-sha256 b\n\nm", "b\n", text + "\nm"},
		{"other hash only", sha256, text + "gpgsig a\n\nm", "a\n", text + "\nm"},
		{"twice", sha1, text + "gpgsig a\ngpgsig b\n c\n\nm", "a\n", text + "\nm"},
		{"looks alike", sha1, text + "gpgsigx a\n\nm", "", text + "gpgsigx a\n\nm"},
		{"begins with a continuation", sha1, " x\n" + text + "\n", "", " x\n" + text + "\n"},
		{"no message", sha1, text + "gpgsig a", "a", text},
		{"empty", sha1, "", "", ""},
	} {
		signature, signed := commit.Signature(tc.id, []byte(tc.raw))
		if string(signature) != tc.signature || string(signed) != tc.signed {
			t.Errorf("%s: %q and %q, want %q and %q", tc.name, signature, signed, tc.signature, tc.signed)
		}
	}
}

func TestSplitTag(t *testing.T) {
	t.Parallel()
	const begin = "-----BEGIN SSH SIGNATURE-----\n"
	for raw, want := range map[string]string{
		"": "", "note\n": "", begin + "x": begin + "x", "note\n" + begin: begin, "note " + begin: "", begin + "x\n" + begin + "y": begin + "y", "a\n-----BEGIN CERTIFICATE-----\n": "",
	} {
		signed, signature := commit.SplitTag([]byte(raw))
		if string(signature) != want || string(signed)+string(signature) != raw {
			t.Errorf("SplitTag(%q) = %q, %q", raw, signed, signature)
		}
	}
}

func FuzzSignature(f *testing.F) {
	f.Add([]byte("tree t\ngpgsig a\n b\ngpgsig-sha256 c\n\nmessage\n"))
	f.Add([]byte(" \n \ngpgsig\n\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		signature, signed := commit.Signature(strings.Repeat("1", 40), raw)
		if len(signature)+len(signed) > len(raw) {
			t.Errorf("%q gives %q and %q", raw, signature, signed)
		}
		c, err := commit.Parse(strings.Repeat("1", 40), raw)
		if err == nil && c.GetSignatureType() != gitalypb.SignatureType_NONE && len(signature) == 0 {
			t.Errorf("%q is signed with nothing", raw)
		}
		before, after := commit.SplitTag(raw)
		if !bytes.Equal(append(bytes.Clone(before), after...), raw) {
			t.Errorf("%q is split into %q and %q", raw, before, after)
		}
	})
}
