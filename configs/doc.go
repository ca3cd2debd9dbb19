// Package configs reads the configuration: one YAML file, strict, with `${NAME}` for environment variables and a
// `*_file` key beside every secret. It reports all that is wrong at once, each problem with the field, its line and
// column, and what to do about it; no message and no log ever holds a secret.
//
// It imports nothing of ours: cmd hands each package the part that it needs.
package configs
