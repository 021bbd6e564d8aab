package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBadFiles compares what is said about each file of testdata/bad with the
// golden message beside it. UPDATE=1 in the environment writes them anew.
func TestBadFiles(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 30 {
		t.Fatalf("found %d files, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(filepath.Base(file), "settings-") {
			_, err = ParseSettings("conf/certd.yaml", data)
		} else {
			_, err = ParseTarget("www.example.com", data, nil)
		}
		if err == nil {
			t.Errorf("%s is accepted", file)
			continue
		}
		golden := strings.TrimSuffix(file, ".yaml") + ".want"
		if os.Getenv("UPDATE") != "" {
			if err := os.WriteFile(golden, []byte(err.Error()+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, readErr := os.ReadFile(golden)
		if readErr != nil {
			t.Error(readErr)
		} else if got := err.Error() + "\n"; got != string(want) {
			t.Errorf("%s:\ngot:\n%swant:\n%s", file, got, want)
		}
	}
}
