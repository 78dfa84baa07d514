package language

import (
	"io"
	"path"

	"gitsplit/services/gitaly/internal/linguist"
	"gitsplit/services/gitaly/internal/object"
)

// attributeNames are the gitattributes that overrule linguist.
var attributeNames = []string{ //nolint:gochecknoglobals // a constant
	"linguist-documentation", "linguist-detectable", "linguist-generated", "linguist-vendored", "linguist-language",
}

func isAttributes(p string) bool { return path.Base(p) == ".gitattributes" }

const (
	headSize = 2 << 10 // of a file, by which its language is told
	maxRead  = 1 << 20 // larger files are told by their names alone
)

// look returns the language of a file and its size in bytes; no name if it does not count.
func (c *counter) look(f object.Entry, attributes map[string]string) (lang linguist.Language, size uint64, err error) {
	if c.program == nil {
		if c.program, err = linguist.Start(c.ctx, c.o.Linguist); err != nil {
			return linguist.Language{}, 0, err
		}
	}
	lang, err = c.program.Language(linguist.Question{Path: f.Path, Attributes: attributes}, func() ([]byte, error) {
		info, err := c.objects.Info(f.OID)
		if err != nil {
			return nil, err
		}
		size = uint64(info.Size) //nolint:gosec // not negative
		if info.Size > maxRead {
			return nil, nil
		}
		return readHead(c.objects, f.OID)
	})
	return lang, size, err
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
