package language

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"gitsplit/services/gitaly/internal/linguist"
	"gitsplit/services/gitaly/internal/ref"
	"gitsplit/services/gitaly/internal/storage"
)

// sum is what is kept of the last commit.
type sum struct {
	Rules     string `json:"linguist"` // its version
	Commit    string `json:"commit"`
	Languages Sums   `json:"languages"`
}

const (
	cacheFile = ".gitaly-languages"
	maxCache  = 1 << 20
)

// load reads what is kept; nothing if there is none, or none that can be used.
func load(repo *storage.Repo) (sum, error) {
	root, err := repo.Root()
	if err != nil {
		return sum{}, err
	}
	defer func() { _ = root.Close() }()
	if info, err := root.Lstat(cacheFile); err != nil || !info.Mode().IsRegular() || info.Size() > maxCache {
		return sum{}, nil //nolint:nilerr // as if there were none
	}
	raw, err := root.ReadFile(cacheFile)
	if errors.Is(err, fs.ErrNotExist) {
		return sum{}, nil
	}
	if err != nil {
		return sum{}, fmt.Errorf("read language statistics: %w", err)
	}
	var s sum
	if json.Unmarshal(raw, &s) != nil || s.Rules != linguist.Rules || !ref.ValidOID(s.Commit) {
		return sum{}, nil // a crash, or another version's
	}
	return s, nil
}

// save keeps the sums. A crash may lose them: they can be counted again.
func save(repo *storage.Repo, s sum) error {
	s.Rules = linguist.Rules
	raw, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("write language statistics: %w", err)
	}
	root, err := repo.Root()
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	tmp := cacheFile + "." + s.Commit // two that count the same commit write the same
	err = root.WriteFile(tmp, raw, 0o600)
	if err == nil {
		err = root.Rename(tmp, cacheFile)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) { // the other was faster
		return errors.Join(fmt.Errorf("write language statistics: %w", err), root.Remove(tmp))
	}
	return nil
}
