package peer

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"gitsplit/bench/internal/gitwire"
)

// nginx is git-http-backend behind nginx and fcgiwrap (git-http-backend(1)).
type nginx struct {
	files
	account
	web, cgi *daemon
}

// password opens nginx's protected half.
const password = "correct-horse" //nolint:gosec // of this run

// Nginx starts nginx with fcgiwrap. It gives four remotes: HTTP and HTTPS, without
// credentials and with ("+auth").
func Nginx(ctx context.Context, s *Site) ([]Remote, error) {
	n := &nginx{files: files{dir: filepath.Join(s.Dir, "nginx"), extra: []string{"http.receivepack", "true"}}}
	plain, secure, err := n.start(ctx, s)
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	ca := filepath.Join(n.dir, "cert.pem")
	var out []Remote
	for _, v := range []struct{ name, scheme, port, path, user string }{
		{"git-http-backend HTTP", "http", plain, "pub", ""},
		{"git-http-backend HTTPS", "https", secure, "pub", ""},
		{"git-http-backend HTTP", "http", plain, "priv", "bench"},
		{"git-http-backend HTTPS", "https", secure, "priv", "bench"},
	} {
		kept, err := gitwire.Kept(128, ca)
		if err != nil {
			return nil, errors.Join(err, n.Close())
		}
		cred := ""
		if v.user != "" {
			cred = v.user + ":" + password + "@"
		}
		out = append(out, Remote{
			Name: v.name, Server: n, Args: []string{"-c", "http.sslCAInfo=" + ca},
			URL: func(repo string) string {
				return fmt.Sprintf("%s://%s127.0.0.1:%s/%s/%s.git", v.scheme, cred, v.port, v.path, repo)
			},
			Web: func(repo string) gitwire.Web {
				return gitwire.Web{Client: kept, URL: fmt.Sprintf("%s://127.0.0.1:%s/%s/%s.git", v.scheme, v.port, v.path, repo), User: v.user, Password: password}
			},
		})
	}
	return out, nil
}

func (n *nginx) start(ctx context.Context, s *Site) (plain, secure string, err error) {
	backend, err := execPath(ctx, "git-http-backend")
	if err != nil {
		return "", "", err
	}
	program, err := find("nginx", "/usr/sbin/nginx")
	if err != nil {
		return "", "", err
	}
	wrap, err := find("fcgiwrap", "/usr/sbin/fcgiwrap")
	if err != nil {
		return "", "", err
	}
	if err := errors.Join(os.MkdirAll(n.dir, 0o755), certificate(n.dir)); err != nil { //nolint:gosec // peers run as other users
		return "", "", err
	}
	plain, err1 := freePort()
	secure, err2 := freePort()
	digest, err3 := exec.CommandContext(ctx, "openssl", "passwd", "-apr1", password).Output() // as htpasswd(1) does by default
	err = errors.Join(err1, err2, err3,
		os.WriteFile(filepath.Join(n.dir, "htpasswd"), []byte("bench:"+string(digest)), 0o600),
		os.WriteFile(filepath.Join(n.dir, "nginx.conf"), []byte(n.config(plain, secure, backend)), 0o600))
	if err != nil {
		return "", "", err
	}
	socket := filepath.Join(n.dir, "cgi")
	n.account = newAccount("nginx")
	err = n.group.Start(func() (err error) {
		n.cgi, err = startDaemon(wrap, "-c", "128", "-s", "unix:"+socket)
		return err
	})
	if err != nil {
		return "", "", err
	}
	if err := n.cgi.ready(ctx, "unix", socket); err != nil {
		return "", "", err
	}
	err = n.group.Start(func() (err error) {
		n.web, err = startDaemon(program, "-c", filepath.Join(n.dir, "nginx.conf"), "-p", n.dir, "-g", "daemon off;")
		return err
	})
	if err != nil {
		return "", "", err
	}
	return plain, secure, n.web.ready(ctx, "tcp", "127.0.0.1:"+plain)
}

// config streams both ways as far as fcgiwrap allows: packs are not spooled on their
// way out.
func (n *nginx) config(plain, secure, backend string) string {
	user := ""
	if os.Getuid() == 0 {
		user = "user root;\n"
	}
	location := func(name, auth string) string {
		return fmt.Sprintf(`    location ~ ^/%s(/.*)$ {
%s      fastcgi_pass unix:%s/cgi;
      fastcgi_buffering off;
      fastcgi_read_timeout 600s;
      fastcgi_param SCRIPT_FILENAME %s;
      fastcgi_param GIT_PROJECT_ROOT %s;
      fastcgi_param GIT_HTTP_EXPORT_ALL "";
      fastcgi_param PATH_INFO $1;
      fastcgi_param REMOTE_USER $remote_user;
      fastcgi_param REMOTE_ADDR $remote_addr;
      fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param QUERY_STRING $query_string;
      fastcgi_param CONTENT_TYPE $content_type;
      fastcgi_param CONTENT_LENGTH $content_length;
    }
`, name, auth, n.dir, backend, n.dir)
	}
	return strings.ReplaceAll(user+`pid DIR/nginx.pid;
error_log DIR/error.log crit;
worker_processes auto;
events { worker_connections 2048; }
http {
  access_log off;
  client_max_body_size 0;
  client_body_temp_path DIR/body;
  fastcgi_temp_path DIR/fcgi;
  proxy_temp_path DIR/proxy;
  uwsgi_temp_path DIR/uwsgi;
  scgi_temp_path DIR/scgi;
  ssl_certificate DIR/cert.pem;
  ssl_certificate_key DIR/key.pem;
  ssl_protocols TLSv1.2 TLSv1.3;
  server {
    listen 127.0.0.1:`+plain+`;
    listen 127.0.0.1:`+secure+` ssl http2;
`, "DIR", n.dir) + location("pub", "") + location("priv", "      auth_basic git;\n      auth_basic_user_file "+n.dir+"/htpasswd;\n") + "  }\n}\n"
}

// Roots are nginx and fcgiwrap.
func (n *nginx) Roots() []int { return []int{n.web.pid(), n.cgi.pid()} }

// CPU is what both and git have used.
func (n *nginx) CPU() time.Duration { return n.used(n.Roots()) }

// Close stops both.
func (n *nginx) Close() error {
	var err error
	for _, d := range []*daemon{n.web, n.cgi} {
		if d != nil {
			err = errors.Join(err, d.close())
		}
	}
	return errors.Join(err, n.group.Close())
}

// execPath finds a program that comes with git.
func execPath(ctx context.Context, name string) (string, error) {
	out, err := exec.CommandContext(ctx, "git", "--exec-path").Output()
	if err != nil {
		return "", err
	}
	return find(filepath.Join(strings.TrimSpace(string(out)), name))
}

// certificate writes a certificate that signs itself, with the kind of key that
// gitsplit's local authority has.
func certificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gitsplit bench"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600),
		os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600))
}
