package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"
)

// inputKey stands for the arguments in a configuration file and in the
// environment.
const inputKey = "input"

// notInFiles are the flags that only the command line knows.
var notInFiles = []string{"config", "check", "help", "version"}

// configure sets the flags that the command line did not, from the environment
// (NMSGSENSOR_BUFFER_SIZE for --buffer-size, words of a list between spaces) and
// from a file in TOML (keys are the names of flags, a list is an array), and
// returns the arguments. What comes first in this order wins, key by key.
func configure(flags *pflag.FlagSet, file string, args []string) ([]string, error) {
	settings, err := readConfig(file)
	if err != nil {
		return nil, err
	}
	if args, err = pick(inputKey, args, true, settings); err != nil {
		return nil, err
	}
	flags.VisitAll(func(f *pflag.Flag) {
		if err != nil || f.Changed || slices.Contains(notInFiles, f.Name) {
			return
		}
		_, isList := f.Value.(list)
		var values []string
		if values, err = pick(f.Name, nil, isList, settings); err != nil {
			return
		}
		for _, v := range values {
			if setting := flags.Set(f.Name, v); setting != nil && err == nil {
				err = setting
			}
		}
	})
	if err != nil {
		return nil, err
	}
	for key := range settings {
		if key != inputKey && (flags.Lookup(key) == nil || slices.Contains(notInFiles, key)) {
			return nil, fmt.Errorf("config %s: unknown key %q; keys are the long names of flags", file, key)
		}
	}
	return args, nil
}

// list is a flag that may be given more than once.
type list interface{ isList() }

// pick returns the values of a key: those given, those of the environment, or
// those of the file.
func pick(key string, given []string, isList bool, settings map[string]any) ([]string, error) {
	if len(given) > 0 {
		return given, nil
	}
	name := "NMSGSENSOR_" + strings.ToUpper(strings.ReplaceAll(key, "-", "_"))
	if v, ok := os.LookupEnv(name); ok && isList {
		return strings.Fields(v), nil
	} else if ok {
		return []string{v}, nil
	}
	switch v := settings[key].(type) {
	case nil:
		return nil, nil
	case []any:
		if !isList {
			return nil, fmt.Errorf("config: %s: takes one value, not a list", key)
		}
		var all []string
		for _, one := range v {
			all = append(all, fmt.Sprint(one))
		}
		return all, nil
	case string, bool, int64, float64:
		return []string{fmt.Sprint(v)}, nil
	default:
		return nil, fmt.Errorf("config: %s: must be a string, a number, a truth value or a list of these", key)
	}
}

// readConfig reads a file in TOML; none has no settings.
func readConfig(file string) (map[string]any, error) {
	var settings map[string]any
	if file == "" {
		return nil, nil
	}
	_, err := toml.DecodeFile(file, &settings)
	var parse toml.ParseError
	var path *fs.PathError
	switch {
	case errors.As(err, &parse):
		return nil, fmt.Errorf("config %s: line %d: %s", file, parse.Position.Line, parse.Message)
	case errors.As(err, &path):
		return nil, fmt.Errorf("config %s: %w", file, path.Err)
	case err != nil:
		return nil, fmt.Errorf("config %s: %w", file, err)
	}
	return settings, nil
}
