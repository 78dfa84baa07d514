package doctor

import (
	"context"
	"fmt"
	"net"

	"gitsplit/kit/hops"
)

// Fronts are the doors that people come in by, as far as this program can reach them; empty ones are not asked. A name that stands for several servers
// is asked once for each.
type Fronts struct {
	HTTP  string `yaml:"http"`  // host:port of workhorse
	HTTPS string `yaml:"https"` // host:port of workhorse
	SSH   string `yaml:"ssh"`   // host:port of gitlab-sshd
	// Internal is the URL of workhorse's internal listener.
	Internal string `yaml:"internal"`
	// Authority is the file of the authority that the certificate may be from.
	Authority string `yaml:"authority"`
	// Proxied says that those who come begin with PROXY headers.
	Proxied bool `yaml:"proxied"`
}

type asker func(check, remedy string, question func(context.Context) (string, error))

func (d Deps) fronts(ask asker) {
	each := func(check, addr, remedy string, question func(context.Context, hops.Door) (string, error)) {
		if addr != "" {
			d.Fronts.servers(ask, check, addr, remedy, question)
		}
	}
	each("HTTP", d.Fronts.HTTP, "the log of workhorse tells why it is not ready", func(ctx context.Context, door hops.Door) (string, error) { return door.HTTP(ctx) })
	each("HTTPS", d.Fronts.HTTPS, "the log of workhorse tells what is wrong with the certificate", func(ctx context.Context, door hops.Door) (string, error) {
		roots, err := hops.Roots(d.Fronts.Authority)
		if err != nil {
			return "", err
		}
		return door.HTTPS(ctx, d.Host, roots)
	})
	each("SSH", d.Fronts.SSH, "the log of gitlab-sshd tells why it does not listen", func(ctx context.Context, door hops.Door) (string, error) { return door.SSH(ctx) })
	if d.Fronts.Internal != "" {
		ask("internal API", "all services must have the same secrets; the log of workhorse tells more", func(ctx context.Context) (string, error) {
			return hops.InternalAPI(ctx, d.Fronts.Internal, d.Secret)
		})
	}
}

// servers asks every server that a name stands for.
func (f Fronts) servers(ask asker, check, addr, remedy string, question func(context.Context, hops.Door) (string, error)) {
	host, port, err := net.SplitHostPort(addr)
	var found []string
	ask(check+" servers", "start one", func(ctx context.Context) (string, error) {
		if err != nil {
			return "", err
		}
		found, err = net.DefaultResolver.LookupHost(ctx, host)
		return fmt.Sprintf("%d at %s", len(found), addr), err
	})
	for _, ip := range found {
		ask(check, remedy, func(ctx context.Context) (string, error) {
			return question(ctx, hops.Door{Addr: net.JoinHostPort(ip, port), Proxied: f.Proxied})
		})
	}
}
