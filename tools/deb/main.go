// Command deb makes a Debian package of a directory that build/install.sh has
// filled. It is in a module of its own, since nfpm brings more dependencies than
// all of certd.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
)

func main() {
	var p pack
	flag.StringVar(&p.tree, "tree", "", "directory `DIR` with the files to install")
	flag.StringVar(&p.scripts, "scripts", "", "directory `DIR` with postinst, prerm and postrm")
	flag.StringVar(&p.out, "out", "dist", "directory `DIR` for the package")
	flag.StringVar(&p.version, "version", "", "Debian's version of the package")
	flag.StringVar(&p.arch, "arch", "amd64", "architecture, as Go calls it")
	flag.StringVar(&p.maintainer, "maintainer", "", "who answers for the package, \"Name <mail>\"")
	flag.Parse()
	name, err := p.write()
	if err != nil {
		fmt.Fprintf(os.Stderr, "deb: %v\n", err)
		os.Exit(1)
	}
	fmt.Println(name)
}

// A pack is what the package is made of.
type pack struct {
	tree, scripts, out, version, arch, maintainer string
}

// write makes the package and returns its path.
func (p pack) write() (string, error) {
	info, err := p.info()
	if err != nil {
		return "", err
	}
	packager, err := nfpm.Get("deb")
	if err != nil {
		return "", err
	}
	name := filepath.Join(p.out, packager.ConventionalFileName(info))
	part := name + ".part"
	f, err := os.Create(part)
	if err != nil {
		return "", err
	}
	if err := errors.Join(packager.Package(info, f), f.Close()); err != nil {
		return "", errors.Join(fmt.Errorf("make %s: %w", name, err), os.Remove(part))
	}
	return name, os.Rename(part, name)
}

func (p pack) info() (*nfpm.Info, error) {
	if p.version == "" || p.version[0] < '0' || p.version[0] > '9' {
		return nil, fmt.Errorf("version %q: want one that begins with a digit", p.version)
	}
	made, err := sourceDate()
	if err != nil {
		return nil, err
	}
	contents, err := p.contents(made)
	if err != nil {
		return nil, err
	}
	info := &nfpm.Info{
		Name: "certd", Arch: p.arch, Platform: "linux", Version: p.version, VersionSchema: "none",
		Section: "admin", Priority: "optional", Maintainer: p.maintainer, License: "MIT",
		MTime: made, DisableGlobbing: true,
		Description: "keeps TLS certificates fresh\n" +
			"certd obtains TLS certificates for the names you want from an ACME CA such as\n" +
			"Let's Encrypt, renews them in time, publishes them under /var/lib/acme/live and\n" +
			"has servers reload them. It opens the state directory of acmetool as it is.\n\n" +
			"Nothing runs after installation before \"certd quickstart\" was asked to.",
	}
	info.Contents = contents
	info.Recommends = []string{"ca-certificates"}
	info.Suggests = []string{"bash-completion", "nginx | apache2 | haproxy"}
	info.Scripts = nfpm.Scripts{
		PostInstall: filepath.Join(p.scripts, "postinst"),
		PreRemove:   filepath.Join(p.scripts, "prerm"),
		PostRemove:  filepath.Join(p.scripts, "postrm"),
	}
	return nfpm.WithDefaults(info), nil
}

// contents lists the files below the tree, and the directory of an
// administrator's own hooks, which is empty.
func (p pack) contents(made time.Time) (files.Contents, error) {
	info := func(mode fs.FileMode) *files.ContentFileInfo {
		return &files.ContentFileInfo{Owner: "root", Group: "root", Mode: mode, MTime: made}
	}
	list := files.Contents{{Destination: "/etc/acme/hooks", Type: files.TypeDir, FileInfo: info(0o755)}}
	err := filepath.WalkDir(p.tree, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("%s is no regular file", path)
		}
		stat, err := d.Info()
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if stat.Mode()&0o100 != 0 {
			mode = 0o755
		}
		list = append(list, &files.Content{Source: path, Destination: strings.TrimPrefix(path, filepath.Clean(p.tree)), FileInfo: info(mode)})
		return nil
	})
	if err == nil && len(list) == 1 {
		err = fmt.Errorf("no files in %s", p.tree)
	}
	return list, err
}

// sourceDate is the time that all files bear, so that the same source makes the
// same package.
func sourceDate() (time.Time, error) {
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}
