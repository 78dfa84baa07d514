// Package session runs one command of one user.
package session
