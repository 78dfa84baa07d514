package housekeeping

import (
	"context"

	"gitsplit/services/gitaly/internal/storage"
)

// Visit is one window over one storage.
func (d *Daily) Visit(ctx context.Context, st *storage.Storage) int {
	if d.last == nil {
		d.last = map[string]string{}
	}
	return d.storage(ctx, st)
}
