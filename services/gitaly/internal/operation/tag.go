package operation

import (
	"context"
	"fmt"
	"strings"

	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/object"
)

// Tag makes an annotated tag of an object.
func (w *Work) Tag(ctx context.Context, name string, target object.Info, message []byte, tagger Signature) (string, error) {
	by, err := tagger.Line()
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("object %s\ntype %s\ntag %s\ntagger %s\n\n%s", target.OID, target.Type, name, by, message)
	out, err := w.s.o.Git.Output(ctx, w.view(), gitcmd.Spec{Name: "mktag", Stdin: strings.NewReader(text)}, 1<<10)
	return strings.TrimSuffix(string(out), "\n"), err
}
