package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
)

// Loader reads configurations. The zero value reads the process's environment and files.
type Loader struct {
	LookupEnv func(name string) (string, bool)  // nil: os.LookupEnv
	ReadFile  func(path string) ([]byte, error) // nil: regular files of up to 1 MiB
}

// Load reads and checks the configuration in the file at path. What is wrong with it comes as an *Error.
func Load(path string) (*Config, error) { return Loader{}.Load(path) }

// Parse reads and checks a configuration. Path names it in errors, and relative paths of `*_file` keys are taken from
// its directory. What is wrong with it comes as an *Error.
func Parse(path string, data []byte) (*Config, error) { return Loader{}.Parse(path, data) }

// Load does what the function Load does.
func (l Loader) Load(path string) (*Config, error) {
	data, err := l.readFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return l.Parse(path, data)
}

// Parse does what the function Parse does.
func (l Loader) Parse(path string, data []byte) (*Config, error) {
	c := Default()
	c.SCIM.Enabled = nil
	lookup := l.LookupEnv
	if lookup == nil {
		lookup = os.LookupEnv
	}
	ps := decode(data, c, lookup)
	if !ps.covers("") {
		l.resolve(ps, filepath.Dir(path), "", reflect.ValueOf(c).Elem())
		validate(c, ps)
		c.BaseURL = strings.TrimRight(c.BaseURL, "/")
	}
	if err := ps.err(path); err != nil {
		return nil, err
	}
	return c, nil
}

// resolve goes through every `*_file` field below v: it makes the path relative to dir, sees that the file can be
// read, and where a secret stands beside it, reads the secret.
func (l Loader) resolve(ps *problems, dir, path string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			l.resolve(ps, dir, fmt.Sprintf("%s[%d]", path, i), v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			key := v.Type().Field(i).Tag.Get("yaml")
			if key == "" {
				continue
			}
			field := join(path, key)
			if name, ok := strings.CutSuffix(key, "_file"); ok {
				if v.Field(i).String() != "" {
					l.resolveFile(ps, dir, field, v.Field(i), secretField(v, name), join(path, name))
				}
				continue
			}
			l.resolve(ps, dir, field, v.Field(i))
		}
	}
}

// secretField returns the field of v whose key is name, where it is a secret; else the zero Value.
func secretField(v reflect.Value, name string) reflect.Value {
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("yaml") == name && v.Field(i).Type() == reflect.TypeFor[Secret]() {
			return v.Field(i)
		}
	}
	return reflect.Value{}
}

func (l Loader) resolveFile(ps *problems, dir, field string, path, secret reflect.Value, secretKey string) {
	if !filepath.IsAbs(path.String()) {
		path.SetString(filepath.Join(dir, path.String()))
	}
	data, err := l.readFile(path.String())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		ps.add(field, "there is no file %s; create it, or correct the path (relative ones start at the configuration's directory)", path)
		return
	case err != nil:
		ps.add(field, "%v; see that idpsync's user can read it", err)
		return
	case !secret.IsValid():
		return
	case ps.where.has(secretKey):
		ps.add(field, "%s is set as well; keep one of the two", secretKey)
		return
	}
	text := strings.TrimSpace(string(data))
	if text == "" {
		ps.add(field, "the file %s is empty; put the secret into it", path)
		return
	}
	secret.SetString(text)
}

const maxFile = 1 << 20

func (l Loader) readFile(path string) ([]byte, error) {
	if l.ReadFile != nil {
		return l.ReadFile(path)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path) // a pipe or device might never end
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, io.LimitReader(f, maxFile+1)); err != nil {
		return nil, err
	}
	if b.Len() > maxFile {
		return nil, fmt.Errorf("%s is larger than 1 MiB", path)
	}
	return b.Bytes(), nil
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
