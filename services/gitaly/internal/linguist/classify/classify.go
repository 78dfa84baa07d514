// Package classify answers the questions of package linguist. It belongs to
// gitaly-linguist alone: to import it is to carry linguist's tables.
package classify

import (
	"crypto/sha256"
	"encoding/gob"
	"errors"
	"fmt"
	"io"

	"github.com/go-enry/go-enry/v2"

	"gitsplit/services/gitaly/internal/linguist"
)

// Serve answers questions until there are no more.
func Serve(questions io.Reader, answers io.Writer) error {
	dec, enc := gob.NewDecoder(questions), gob.NewEncoder(answers)
	for {
		var q linguist.Question
		err := dec.Decode(&q)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = enc.Encode(answer(q))
		}
		if err != nil {
			return fmt.Errorf("answer: %w", err)
		}
	}
}

// answer tells the language of a file; none if it does not count: documentation, what
// others wrote, what programs wrote, data and prose.
func answer(q linguist.Question) linguist.Answer {
	a := attributes(q.Attributes)
	switch {
	case a.is("linguist-documentation", func() bool { return enry.IsDocumentation(q.Path) }),
		a.is("linguist-vendored", func() bool { return enry.IsVendor(q.Path) }):
		return linguist.Answer{}
	case !q.Asked:
		return linguist.Answer{NeedHead: true}
	case a.is("linguist-generated", func() bool { return enry.IsGenerated(q.Path, q.Head) }):
		return linguist.Answer{}
	}
	name := nameOf(q.Path, q.Head, a)
	counts := a.is("linguist-detectable", func() bool {
		kind := enry.GetLanguageType(name)
		return kind == enry.Programming || kind == enry.Markup
	})
	if !counts || name == "" {
		return linguist.Answer{}
	}
	return linguist.Answer{Language: linguist.Language{Name: name, Color: color(name), ID: id(name)}}
}

// attributes are those of one file, by name. They overrule linguist.
type attributes map[string]string

// is asks the attribute, and linguist where that says nothing.
func (a attributes) is(name string, linguist func() bool) bool {
	switch a[name] {
	case "set", "true":
		return true
	case "unset", "false":
		return false
	}
	return linguist()
}

// nameOf tells the language of a file. An attribute counts if linguist knows what it
// names: other words could be as many as there are files.
func nameOf(file string, head []byte, a attributes) string {
	if name, ok := enry.GetLanguageByAlias(a["linguist-language"]); ok {
		return name
	}
	return enry.GetLanguage(file, head)
}

// noColor is what enry gives to languages without a color.
const noColor = "#cccccc"

// color is what stands for a language in diagrams; one that linguist has no color for
// gets one from its name.
func color(name string) string {
	if c := enry.GetColor(name); c != noColor {
		return c
	}
	hash := sha256.Sum256([]byte(name))
	return fmt.Sprintf("#%x", hash[:3])
}

// id is linguist's number of a language, 0 for one that it does not know.
func id(name string) int64 {
	n, ok := enry.GetLanguageID(name)
	if !ok {
		return 0
	}
	return int64(n)
}
