package operation

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // users name their zones, and images often have no list of zones

	"google.golang.org/protobuf/types/known/timestamppb"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
)

// Signature is who wrote something, and when.
type Signature struct {
	Name, Email string // cleaned
	When        time.Time
}

// Sign returns the signature of a user at the time of a request, absent for now, in
// the user's time zone. A zone or a time that does not exist is errs.Invalid.
func (s *Service) Sign(user *gitalypb.User, at *timestamppb.Timestamp) (Signature, error) {
	when := s.o.Now()
	if at != nil {
		when = at.AsTime()
	}
	zone, err := time.LoadLocation(user.GetTimezone())
	if err != nil {
		return Signature{}, errs.New(errs.Invalid, err.Error())
	}
	if when.Unix() < 0 || when.Year() > 9999 {
		return Signature{}, errs.New(errs.Invalid, "timestamp is out of range")
	}
	return Signature{Name: clean(string(user.GetName())), Email: clean(string(user.GetEmail())), When: when.In(zone)}, nil
}

// By returns the signature with another name and address, where they are given.
func (s Signature) By(name, email []byte) Signature {
	if n := clean(string(name)); n != "" {
		s.Name = n
	}
	if e := clean(string(email)); e != "" {
		s.Email = e
	}
	return s
}

// Line is the signature as git writes it. Git accepts no empty name.
func (s Signature) Line() (string, error) {
	if s.Name == "" || s.Email == "" {
		return "", errs.New(errs.Invalid, "commit: failed to parse signature - Signature cannot have an empty name or email")
	}
	return fmt.Sprintf("%s <%s> %d %s", s.Name, s.Email, s.When.Unix(), s.When.Format("-0700")), nil
}

// clean removes what git removes from names and addresses: characters that would
// break the line, anywhere, and punctuation around the rest. Other bytes stay as they
// are, UTF-8 or not.
func clean(s string) string {
	s = strings.NewReplacer("\x00", "", "\n", "", "<", "", ">", "").Replace(s)
	return strings.TrimFunc(s, func(r rune) bool { return r <= ' ' || strings.ContainsRune(`.,:;"\'`, r) })
}
