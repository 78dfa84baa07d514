package commit

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/object"
)

// CopyMessage writes the whole message of a commit or tag object, however long. name
// must lead to an object of that type, else it is errs.NotFound.
func CopyMessage(w io.Writer, objects *object.Reader, name, typ string) error {
	info, rd, err := objects.Stream(name)
	if err != nil {
		return err
	}
	if info.Type != typ {
		return errors.Join(errs.Newf(errs.NotFound, "object %s is a %s", info.OID, info.Type), objects.Discard())
	}
	buf := bufio.NewReader(rd)
	if err := skipHeaders(buf); err != nil {
		return fmt.Errorf("read %s %s: %w", typ, info.OID, err)
	}
	if _, err := io.Copy(w, buf); err != nil {
		return err
	}
	return objects.Discard()
}

// skipHeaders reads up to the empty line. An object that ends before has no message.
func skipHeaders(rd *bufio.Reader) error {
	for {
		line, err := rd.ReadSlice('\n')
		if errors.Is(err, io.EOF) || err == nil && len(line) == 1 {
			return nil
		}
		for errors.Is(err, bufio.ErrBufferFull) { // the rest of a long line, which is not empty
			_, err = rd.ReadSlice('\n')
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
}
