package auth

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/kit/logging"
	"gitsplit/services/rails-api/internal/ratelimit"
)

// The texts for who is banned; git shows them line by line.
const (
	addressBanned = "Too many failed sign-ins from your address. Wait before you try again, or ask your administrator."
	nameBanned    = "Too many failed sign-ins with this user name. Wait before you try again, or use an access token."
)

// Guard stops those who guess credentials (wire/workhorse.md §10.1, row 3): after
// too many failures nothing from an address is heard for a while, and no password
// for a user name, whether or not there is such a user. When the counts cannot be
// reached, nobody is stopped.
type Guard struct {
	bans   *ratelimit.Bans
	exempt []netip.Prefix
	log    *slog.Logger
}

// NewGuard returns a Guard. Addresses of exempt are never stopped, nor does what
// comes from them count.
func NewGuard(bans *ratelimit.Bans, exempt []netip.Prefix, log *slog.Logger) *Guard {
	return &Guard{bans: bans, exempt: exempt, log: log}
}

// address guards everything that comes from an address.
func (g *Guard) address(ctx context.Context, address string, try func() error) error {
	return g.try(ctx, address, []string{"address", network(address)}, addressBanned, try)
}

// name guards the passwords for a user name.
func (g *Guard) name(ctx context.Context, address, login string, try func() error) error {
	return g.try(ctx, address, []string{"user", strings.ToLower(login)}, nameBanned, try)
}

// try refuses with errs.Denied who is banned. Of others a refusal is counted, a
// success forgets what was counted, and other errors tell nothing.
func (g *Guard) try(ctx context.Context, address string, scope []string, text string, try func() error) error {
	if g.exempted(address) {
		return try()
	}
	banned, failed, err := g.bans.Banned(ctx, scope)
	if banned {
		return errs.New(errs.Denied, text)
	}
	outcome := try()
	switch {
	case err != nil: // the counts cannot be reached
	case outcome == nil && failed:
		err = g.bans.Forgive(ctx, scope)
	case Reason(outcome) != "":
		banned, err = g.bans.Fail(ctx, scope)
	}
	if err != nil {
		g.log.WarnContext(ctx, "failed sign-ins not counted", slog.Any(logging.KeyError, err))
	}
	if banned {
		g.log.LogAttrs(ctx, slog.LevelWarn, "audit", slog.String("banned", scope[0]), slog.String(logging.KeyRemoteAddr, address))
	}
	return outcome
}

// network is what one client is taken to have: of IPv6 a /64.
func network(address string) string {
	const bits = 64
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Is4() {
		return address
	}
	return netip.PrefixFrom(ip.WithZone(""), bits).Masked().String()
}

// exempted: an address that cannot be read is nobody's in particular, and to ban
// it would ban them all.
func (g *Guard) exempted(address string) bool {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return true
	}
	for _, p := range g.exempt {
		if p.Contains(ip.Unmap()) {
			return true
		}
	}
	return false
}

// Address returns the client's address as workhorse tells it, "" when it does not.
func Address(r *http.Request) string {
	first, _, _ := strings.Cut(r.Header.Get("X-Forwarded-For"), ",")
	if ip, err := netip.ParseAddr(strings.TrimSpace(first)); err == nil {
		return ip.Unmap().String()
	}
	return ""
}
