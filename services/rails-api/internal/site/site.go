// Package site knows the public addresses of this installation: web pages and
// clone URLs.
package site

import (
	"fmt"
	"net/url"
	"strings"
)

// Site is where people reach this installation.
type Site struct {
	External *url.URL // the web address, perhaps with a path
	SSHHost  string
	SSHPort  int
	SSHUser  string
}

const defaultSSHPort = 22

// URL returns the address of a page below the web address.
func (s Site) URL(path string) string {
	return strings.TrimSuffix(s.External.String(), "/") + "/" + strings.TrimPrefix(path, "/")
}

// HTTPClone returns the clone URL of a project over HTTP.
func (s Site) HTTPClone(fullPath string) string { return s.URL(fullPath + ".git") }

// SSHClone returns the clone URL of a project over SSH.
func (s Site) SSHClone(fullPath string) string {
	if s.SSHPort == defaultSSHPort || s.SSHPort == 0 {
		return fmt.Sprintf("%s@%s:%s.git", s.SSHUser, s.SSHHost, fullPath)
	}
	return fmt.Sprintf("ssh://%s@%s:%d/%s.git", s.SSHUser, s.SSHHost, s.SSHPort, fullPath)
}

// Clone returns the clone URL for a protocol, "ssh" or another.
func (s Site) Clone(protocol, fullPath string) string {
	if protocol == "ssh" {
		return s.SSHClone(fullPath)
	}
	return s.HTTPClone(fullPath)
}

// NewMergeRequest returns the page that proposes a branch for merging.
func (s Site) NewMergeRequest(fullPath, branch string) string {
	return s.URL(fullPath) + "/-/merge_requests/new?merge_request%5Bsource_branch%5D=" + url.QueryEscape(branch)
}

// Members returns the page that lists a project's members.
func (s Site) Members(fullPath string) string { return s.URL(fullPath) + "/-/project_members" }

// SSHCommand returns the command line that runs a verb of the SSH server.
func (s Site) SSHCommand(verb string) string {
	if s.SSHPort == defaultSSHPort || s.SSHPort == 0 {
		return fmt.Sprintf("ssh %s@%s %s", s.SSHUser, s.SSHHost, verb)
	}
	return fmt.Sprintf("ssh %s@%s -p %d %s", s.SSHUser, s.SSHHost, s.SSHPort, verb)
}
