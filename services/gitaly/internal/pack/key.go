package pack

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"gitsplit/services/gitaly/internal/storage"
)

// packKey is the same for two wishes if git would give the same answer: it holds the
// repository, the arguments and what upload-pack said, and of the repository's state
// what else a pack depends on. Objects never change, so that is little: which
// directory it is, should it have been made anew, and commits that are cut off. Tags
// that --include-tag adds are a courtesy: a client asks for those it misses.
func packKey(repo *storage.Repo, w Wanted, stdin *spooled) string {
	fields := []string{repo.Storage.Name, repo.RelativePath, repo.ObjectDir}
	fields = append(fields, repo.Alternates...)
	fields = append(fields, "", w.Protocol, identity(repo.Dir), state(filepath.Join(repo.Dir, "shallow")),
		state(filepath.Join(repo.Dir, "info/grafts")), "")
	fields = append(fields, w.Args...)
	sum := sha256.New()
	for _, f := range append(fields, string(stdin.sum.Sum(nil))) {
		_, _ = sum.Write(binary.BigEndian.AppendUint64(nil, uint64(len(f)))) // a hash never fails
		_, _ = sum.Write([]byte(f))
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// identity tells a directory from one that was there before under the same name.
func identity(dir string) string {
	info, err := os.Stat(dir)
	if err != nil {
		return ""
	}
	st, _ := info.Sys().(*syscall.Stat_t)
	return fmt.Sprint(st.Dev, st.Ino)
}

// state changes with a file's content; most repositories do not have those it is
// asked for.
func state(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprint(info.Size(), info.ModTime().UnixNano())
}
