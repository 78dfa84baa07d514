package commit_test

import (
	"strings"
	"testing"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/commit"
)

const raw = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nparent 1111111111111111111111111111111111111111\n" +
	"parent 2222222222222222222222222222222222222222\nauthor A \"x\" B <a@example.com> 1700000000 +0130\n" +
	"committer C <c@example.com> 1700000001 -0700\nencoding ISO-8859-1\ngpgsig -----BEGIN PGP SIGNATURE-----\n abc\n -----END PGP SIGNATURE-----\n" +
	"\nsubject\n\nbody\n\nKey: value\n more\nRef: #1\n"

func TestParse(t *testing.T) {
	t.Parallel()
	c, err := commit.Parse("id", []byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	if c.GetTreeId() != "4b825dc642cb6eb9a060e54bf8d69288fbee4904" || len(c.GetParentIds()) != 2 || string(c.GetAuthor().GetName()) != `A "x" B` ||
		string(c.GetAuthor().GetTimezone()) != "+0130" || c.GetCommitter().GetDate().GetSeconds() != 1700000001 || c.GetEncoding() != "ISO-8859-1" ||
		c.GetSignatureType() != gitalypb.SignatureType_PGP || string(c.GetSubject()) != "subject" || !strings.HasPrefix(string(c.GetBody()), "subject\n\nbody") ||
		c.GetBodySize() != int64(len(c.GetBody())) {
		t.Errorf("commit = %v", c)
	}
	trailers := commit.Trailers(c.GetBody())
	if len(trailers) != 2 || string(trailers[0].GetValue()) != "value more" || string(trailers[1].GetKey()) != "Ref" {
		t.Errorf("trailers = %v", trailers)
	}
	for _, body := range []string{"Key: value", "s\n\nno trailer", "s\n\nKey: v\nx", "", "s\n\n: v"} {
		if got := commit.Trailers([]byte(body)); got != nil {
			t.Errorf("Trailers(%q) = %v", body, got)
		}
	}
}

func TestParseAuthor_odd(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{"": "", "no mail": "no mail", "A <a": "A", "<> 0 +0000": "", "A <a> 99999999999999999999 x": "A", "A <a> -5": "A"} {
		if got := string(commit.ParseAuthor(line).GetName()); got != want {
			t.Errorf("ParseAuthor(%q) = %q, want %q", line, got, want)
		}
	}
}

func TestParseTag(t *testing.T) {
	t.Parallel()
	tag, target, err := commit.ParseTag("id", []byte("object 1234\ntype commit\ntag v1\ntagger T <t@example.com> 1 +0000\n\nnote\n-----BEGIN SSH SIGNATURE-----\nx\n"))
	if err != nil || target != "1234" || string(tag.GetTagger().GetName()) != "T" || tag.GetSignatureType() != gitalypb.SignatureType_SSH {
		t.Errorf("tag %v, target %q, %v", tag, target, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(raw))
	f.Add([]byte("author"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if c, err := commit.Parse("id", in); err == nil {
			commit.Trailers(c.GetBody())
			if d := c.GetAuthor().GetDate(); d != nil && d.CheckValid() != nil {
				t.Errorf("date %v", d)
			}
		}
		_, _, _ = commit.ParseTag("id", in)
	})
}
