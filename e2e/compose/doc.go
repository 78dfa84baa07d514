// Package compose holds the test of deploy/: the images and the compose files, as
// a person uses them. It is behind the build tag compose because it needs a Docker
// engine, some minutes, and images that have been built; `make compose-test` does
// all of it.
package compose
