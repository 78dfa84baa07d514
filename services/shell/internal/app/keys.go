package app

import (
	"context"
	"errors"
	"net/http"

	"gitsplit/kit/errs"
	"gitsplit/kit/internalapi"
)

// keyLookup finds keys through the internal API.
type keyLookup struct{ api *internalapi.Client }

// KeyID implements sshd.Keys.
func (k keyLookup) KeyID(ctx context.Context, blob string) (int64, error) {
	key, err := k.api.AuthorizedKeys(ctx, blob)
	if e, ok := errors.AsType[*internalapi.Error](err); ok && e.Status == http.StatusNotFound {
		return 0, errs.Wrap(errs.NotFound, e.Message, err)
	}
	if err != nil {
		return 0, err
	}
	return key.ID, nil
}
