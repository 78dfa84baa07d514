package sshd

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
)

// Startups bounds the connections that have not logged in yet, as OpenSSH's
// MaxStartups does: from Start on a new one is dropped by chance, more and more
// often, and from Full on always. So a flood that never logs in leaves room for
// those who do.
type Startups struct {
	Start, Full int
	// Rate is the chance in percent at Start; it grows to 100 at Full.
	Rate int
}

// ParseStartups reads "start:rate:full".
func ParseStartups(text string) (Startups, error) {
	var s Startups
	var rest string
	n, _ := fmt.Sscanf(text+" ", "%d:%d:%d%s", &s.Start, &s.Rate, &s.Full, &rest)
	if n != 3 || s.Start < 1 || s.Full < s.Start || s.Rate < 1 || s.Rate > 100 {
		return Startups{}, fmt.Errorf("%q is not start:rate:full with 1 <= start <= full and a rate of 1 to 100", text)
	}
	return s, nil
}

// drops decides about a new connection while n others have not logged in; chance is
// a number from 0 to 99.
func (s Startups) drops(n, chance int) bool {
	switch {
	case n < s.Start:
		return false
	case n >= s.Full:
		return true
	}
	return chance < s.Rate+(100-s.Rate)*(n-s.Start)/(s.Full-s.Start)
}

// startups counts them.
type startups struct {
	rule Startups
	open atomic.Int64
}

// admit takes a place until leave is called, or reports false.
func (s *startups) admit() bool {
	n := int(s.open.Add(1)) - 1
	if s.rule.drops(n, rand.IntN(100)) { //nolint:gosec // chance, not a secret
		s.open.Add(-1)
		return false
	}
	return true
}

func (s *startups) leave() { s.open.Add(-1) }
