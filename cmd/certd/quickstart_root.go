package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"certd/config"
	"certd/hooks"
)

// An image is the root directory of a system that is being made and does not
// run; empty means this machine. Answers and units have paths as they are inside.
type image string

// on is where a path of the image lies on this machine. One that begins with the
// image's own directory is meant as it stands.
func (i image) on(path string) string {
	if i == "" || i.inside(path) != path {
		return path
	}
	return filepath.Join(string(i), path)
}

// inside is what the image calls a path of this machine.
func (i image) inside(path string) string {
	if rest, ok := strings.CutPrefix(path, strings.TrimSuffix(string(i), "/")+"/"); ok && i != "" {
		return "/" + rest
	}
	return path
}

// readable is where a file that is only read is found: in the image, or else on
// the machine that makes it.
func (i image) readable(path string) string {
	if path == "" {
		return ""
	}
	if at := i.on(path); exists(at) {
		return at
	}
	return path
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// dirs are the state directory and the hook directories to work with. The default
// ones are those of the image; others are where the flags say.
func (i image) dirs(stateDir string, hookDirs []string) (string, []string) {
	if i == "" {
		return stateDir, hookDirs
	}
	if stateDir == standardStateDir {
		stateDir = i.on(stateDir)
	}
	hookDirs = slices.Clone(hookDirs)
	for n, dir := range hookDirs {
		if slices.Contains(hooks.DefaultDirs(""), dir) {
			hookDirs[n] = i.on(dir)
		}
	}
	return stateDir, hookDirs
}

// ca is a CA with its files where they can be read now.
func (i image) ca(ca config.CA) config.CA {
	ca.Bundle, ca.EABHMACFile = i.readable(ca.Bundle), i.readable(ca.EABHMACFile)
	return ca
}

// missing says which of the files the image lacks.
func (i image) missing(files ...string) []string {
	var out []string
	for _, file := range files {
		if i != "" && file != "" && !exists(i.on(file)) {
			out = append(out, "copy "+file+" to "+i.on(file))
		}
	}
	return out
}

// program is certd as the image calls it: this very program if it lies there,
// else where packages and make install put it, else at the same path as here.
func (i image) program(path string) string {
	if i == "" || i.inside(path) != path {
		return i.inside(path)
	}
	for _, p := range []string{path, "/usr/bin/certd", "/usr/local/bin/certd"} {
		if exists(i.on(p)) {
			return p
		}
	}
	return path
}

// servers are the programs that serve certificates and are installed in the image.
func (i image) servers() []string {
	var out []string
	for name, server := range serverPrograms() {
		for _, dir := range []string{"/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"} {
			if exists(i.on(dir+"/"+name)) && !slices.Contains(out, server) {
				out = append(out, server)
			}
		}
	}
	slices.Sort(out)
	return out
}
