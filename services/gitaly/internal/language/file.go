package language

import (
	"crypto/sha256"
	"fmt"
	"io"
	"path"

	"github.com/go-enry/go-enry/v2"

	"gitsplit/services/gitaly/internal/object"
)

// attributes are those of one file, by name.
type attributes map[string]string

// attributeNames are the gitattributes that overrule linguist.
var attributeNames = []string{ //nolint:gochecknoglobals // a constant
	"linguist-documentation", "linguist-detectable", "linguist-generated", "linguist-vendored", "linguist-language",
}

func isAttributes(p string) bool { return path.Base(p) == ".gitattributes" }

// says returns what an attribute says, if anything.
func (a attributes) says(name string) (yes, said bool) {
	switch a[name] {
	case "set", "true":
		return true, true
	case "unset", "false":
		return false, true
	}
	return false, false
}

// is asks the attribute, and linguist where that says nothing.
func (a attributes) is(name string, linguist func() bool) bool {
	if yes, said := a.says(name); said {
		return yes
	}
	return linguist()
}

const (
	headSize = 2 << 10 // of a file, by which its language is told
	maxRead  = 1 << 20 // larger files are told by their names alone
)

// look returns the language of a file and its size in bytes; "" if it does not count:
// documentation, what others wrote, what programs wrote, data and prose.
func look(objects *object.Reader, f object.Entry, a attributes) (name string, size uint64, err error) {
	if a.is("linguist-documentation", func() bool { return enry.IsDocumentation(f.Path) }) ||
		a.is("linguist-vendored", func() bool { return enry.IsVendor(f.Path) }) {
		return "", 0, nil
	}
	info, err := objects.Info(f.OID)
	if err != nil {
		return "", 0, err
	}
	var head []byte
	if info.Size <= maxRead {
		if head, err = readHead(objects, f.OID); err != nil {
			return "", 0, err
		}
	}
	if a.is("linguist-generated", func() bool { return enry.IsGenerated(f.Path, head) }) {
		return "", 0, nil
	}
	name = nameOf(f.Path, head, a)
	counts := a.is("linguist-detectable", func() bool {
		kind := enry.GetLanguageType(name)
		return kind == enry.Programming || kind == enry.Markup
	})
	if !counts {
		return "", 0, nil
	}
	return name, uint64(info.Size), nil //nolint:gosec // not negative
}

// nameOf tells the language of a file. An attribute counts if linguist knows what it
// names: other words could be as many as there are files.
func nameOf(file string, head []byte, a attributes) string {
	if name, ok := enry.GetLanguageByAlias(a["linguist-language"]); ok {
		return name
	}
	return enry.GetLanguage(file, head)
}

func readHead(objects *object.Reader, oid string) ([]byte, error) {
	_, rd, err := objects.Stream(oid)
	if err != nil {
		return nil, err
	}
	head, err := io.ReadAll(io.LimitReader(rd, headSize))
	if err != nil {
		return nil, err
	}
	return head, objects.Discard()
}

// noColor is what enry gives to languages without a color.
const noColor = "#cccccc"

// Color is what stands for a language in diagrams; one that linguist has no color for
// gets one from its name.
func Color(name string) string {
	if c := enry.GetColor(name); c != noColor {
		return c
	}
	hash := sha256.Sum256([]byte(name))
	return fmt.Sprintf("#%x", hash[:3])
}

// ID is linguist's number of a language, 0 for one that it does not know.
func ID(name string) int64 {
	id, ok := enry.GetLanguageID(name)
	if !ok {
		return 0
	}
	return int64(id)
}
