package suite

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	"gitsplit/bench/internal/gitwire"
	"gitsplit/bench/internal/peer"
	"gitsplit/bench/internal/report"
)

// manyKeys is row 9. Each number of keys has an instance of its own, so that they can
// take turns.
func (s *Suite) manyKeys(ctx context.Context, sec *report.Section) (err error) {
	counts := []int{1000, 100_000, 1_000_000}
	if s.Quick {
		counts = []int{1000, 100_000}
	}
	var sides []side
	for i, n := range counts {
		o := s.ours
		if i > 0 {
			if o, err = peer.Up(ctx, s.site, s.Bin, s.home(fmt.Sprintf("keys%d", i))); err != nil {
				return err
			}
			defer func() { err = errors.Join(err, o.Close()) }()
		}
		if err := fillKeys(ctx, o, n); err != nil {
			return err
		}
		r, err := o.SSH()
		if err != nil {
			return err
		}
		sides = append(sides, side{named("gitsplit", n), func(ctx context.Context, _ int) (map[string]float64, error) { return login(ctx, *r.Shell) }})
	}
	theirs, err := s.opensshKeys(counts)
	if err != nil {
		sec.Note("openssh: %v", err)
	}
	sides = append(sides, theirs...)
	defer func() { err = errors.Join(err, s.opensshOwn()) }()
	last := counts[len(counts)-1]
	pairs := append(against(named("gitsplit", last), sides...), against(named("openssh", last), sides...)...)
	t := s.turns(ctx, sec, plan{title: "a login", rounds: s.rounds(7, 7), warm: true, metrics: []metric{wall, {"key look-up", "ms"}}, sides: sides, pairs: pairs})
	sec.AtMost(true, fmt.Sprintf("login with %d keys ÷ with %d keys, at most 1.1", last, counts[0]), ratio(t, named("gitsplit", last), named("gitsplit", counts[0]), wall.name), 1.1, "×")
	return s.note(sec, "openssh")
}

func named(who string, keys int) string { return fmt.Sprintf("%s, %d keys", who, keys) }

// login measures a login, and in it how long the server looks for the key.
func login(ctx context.Context, shell gitwire.Shell) (map[string]float64, error) {
	var ph gitwire.Phases
	c, err := shell.Dial(ctx, &ph)
	if err != nil {
		return nil, err
	}
	return map[string]float64{wall.name: ms(ph.Login), "key look-up": ms(ph.Key - ph.Exchange)}, c.Close()
}

// fillKeys puts keys of the benchmark's user into the database, which no API does in
// such numbers.
func fillKeys(ctx context.Context, o *peer.Ours, n int) error {
	const batch = 100_000 // within the time of one statement
	for from := 0; from < n; from += batch {
		err := o.SQL(ctx, fmt.Sprintf(`INSERT INTO ssh_keys (user_id, title, key, fingerprint_sha256)
			SELECT %d, 'many', 'ssh-ed25519 AAAA', rtrim(encode(sha256(n::text::bytea), 'base64'), '=') FROM generate_series(%d, %d) AS n`, o.ID, from+1, min(n, from+batch)))
		if err != nil {
			return err
		}
	}
	return o.SQL(ctx, "VACUUM ANALYZE ssh_keys") // else it runs while we measure
}

// opensshKeys prepares files of keys, the client's last, as sites have it that append.
func (s *Suite) opensshKeys(counts []int) (sides []side, err error) {
	for _, r := range s.authorizers() {
		for _, n := range counts {
			file := s.keysFile(n)
			if err := writeKeys(file, s.site.Key+".pub", n); err != nil {
				return nil, err
			}
			sides = append(sides, side{named(r.Name, n), func(ctx context.Context, _ int) (map[string]float64, error) {
				if err := r.Server.(peer.Authorizer).Authorize(file); err != nil {
					return nil, err
				}
				return login(ctx, *r.Shell)
			}})
		}
	}
	return sides, nil
}

// opensshOwn leaves the client's key alone in its file: the rows to come do not wait for
// a million others.
func (s *Suite) opensshOwn() (err error) {
	file := s.keysFile(0)
	for _, r := range s.authorizers() {
		err = errors.Join(err, writeKeys(file, s.site.Key+".pub", 0), r.Server.(peer.Authorizer).Authorize(file))
	}
	return err
}

func (s *Suite) keysFile(n int) string { return filepath.Join(s.site.Dir, fmt.Sprintf("keys-%d", n)) }

// authorizers are the peers with a file of keys.
func (s *Suite) authorizers() (found []peer.Remote) {
	for _, r := range s.ssh {
		if _, ok := r.Server.(peer.Authorizer); ok {
			found = append(found, r)
		}
	}
	return found
}

func writeKeys(file, own string, n int) error {
	key, err := os.ReadFile(own) //nolint:gosec // made for this run
	if err != nil {
		return err
	}
	out := make([]byte, 0, n*96)
	for i := range n {
		var point [32]byte
		binary.BigEndian.PutUint64(point[:], uint64(i))
		blob := ssh.Marshal(struct {
			Name string
			Key  []byte
		}{ssh.KeyAlgoED25519, point[:]})
		out = append(base64.StdEncoding.AppendEncode(append(out, "ssh-ed25519 "...), blob), " many\n"...)
	}
	return os.WriteFile(file, append(out, key...), 0o644) //nolint:gosec // sshd reads it as the user
}
