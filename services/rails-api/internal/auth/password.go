package auth

import (
	"cmp"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"

	"gitsplit/services/rails-api/internal/postgres"
)

const (
	cost        = 12 // of bcrypt: about a quarter of a second
	minPassword = 8
	maxPassword = 72 // bytes; bcrypt sees no more
)

// Passwords makes the digests of passwords. The zero value is for installations.
type Passwords struct {
	cost int // 0 is the constant
}

// NewPasswords returns Passwords whose digests cost more or less: for tests, which
// would do nothing else, bcrypt's least.
func NewPasswords(cost int) Passwords { return Passwords{cost} }

func (p Passwords) bcryptCost() int { return cmp.Or(p.cost, cost) }

// Hash returns the digest to store for a password. It is errs.Invalid for one that
// is too short or too long.
func (p Passwords) Hash(password string) (string, error) {
	switch {
	case len(password) < minPassword:
		return "", postgres.Invalid("password", fmt.Sprintf("is too short (minimum is %d characters)", minPassword))
	case len(password) > maxPassword:
		return "", postgres.Invalid("password", fmt.Sprintf("is too long (maximum is %d bytes)", maxPassword))
	}
	digest, err := bcrypt.GenerateFromPassword([]byte(password), p.bcryptCost())
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return string(digest), nil
}

// nobody is the digest of a password that nobody knows; it stands in for the digest
// of a user that does not exist, and costs as much.
func (p Passwords) nobody() string {
	return fmt.Sprintf("$2a$%02d$o9zwYI1FldE8skxRpRIcNOruDMRYwds23iIxuXrfvXwC1U.F6Jllq", p.bcryptCost())
}

// memo remembers which passwords matched which digests, since Git over HTTP sends
// the same password with each of its requests and bcrypt is slow on purpose. It
// keeps keyed hashes only, of this process and for minutes; a changed password has
// another digest, so that nothing outlives a change.
type memo struct {
	now    func() time.Time
	nobody string // the digest of a user that does not exist
	key    [32]byte
	mu     sync.Mutex
	good   map[[sha256.Size]byte]time.Time // until when
}

const (
	memoTime = 5 * time.Minute
	memoSize = 1024
)

func newMemo(now func() time.Time, nobody string) *memo {
	m := &memo{now: now, nobody: nobody, good: map[[sha256.Size]byte]time.Time{}}
	_, _ = rand.Read(m.key[:]) // never fails
	return m
}

func (m *memo) matches(digest, password string) bool {
	if digest == "" {
		digest = m.nobody
	}
	h := hmac.New(sha256.New, m.key[:])
	_, _ = fmt.Fprintf(h, "%d:%s%s", len(digest), digest, password) // a hash takes everything
	sum := [sha256.Size]byte(h.Sum(nil))
	if m.known(sum) {
		return true
	}
	if bcrypt.CompareHashAndPassword([]byte(digest), []byte(password)) != nil {
		return false
	}
	m.remember(sum)
	return true
}

func (m *memo) known(sum [sha256.Size]byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now().Before(m.good[sum])
}

func (m *memo) remember(sum [sha256.Size]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.good) >= memoSize {
		clear(m.good)
	}
	m.good[sum] = m.now().Add(memoTime)
}
