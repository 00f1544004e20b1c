package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
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

func inFiles(f *pflag.Flag) bool { return !f.Hidden && !slices.Contains(notInFiles, f.Name) }

// envPrefix begins the names of variables: NMSGSENSOR_BUFFER_SIZE is
// --buffer-size.
const envPrefix = "NMSGSENSOR_"

func envName(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, "-", "_"))
}

// configure sets the flags that the command line did not, from the environment
// (the words of a list between spaces) and from a file in TOML (keys are the
// names of flags, a list is an array), and returns the arguments. What comes
// first in this order wins, key by key.
func configure(flags *pflag.FlagSet, file string, args []string) ([]string, error) {
	settings, err := readConfig(file)
	if err != nil {
		return nil, err
	}
	if err := knownKeys(flags, file, settings); err != nil {
		return nil, err
	}
	if len(args) == 0 {
		if args, _, err = pick(inputKey, true, file, settings); err != nil {
			return nil, err
		}
	}
	flags.VisitAll(func(f *pflag.Flag) {
		if err != nil || f.Changed || !inFiles(f) {
			return
		}
		_, isList := f.Value.(list)
		values, origin, picking := pick(f.Name, isList, file, settings)
		err = picking
		for _, v := range values {
			if setting := f.Value.Set(v); setting != nil && err == nil {
				err = fmt.Errorf("%s: %q: %w", origin, v, valueMistake(f, setting))
			}
		}
	})
	return args, err
}

// knownKeys finds settings and variables that are no flags.
func knownKeys(flags *pflag.FlagSet, file string, settings map[string]any) error {
	known, variables := map[string]bool{inputKey: true}, map[string]bool{envName(inputKey): true, envName("config"): true}
	flags.VisitAll(func(f *pflag.Flag) {
		if inFiles(f) {
			known[f.Name], variables[envName(f.Name)] = true, true
		}
	})
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		if !known[key] {
			return fmt.Errorf("config %s: unknown key %q; %s", file, key, instead(key, known))
		}
	}
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, envPrefix) && !variables[name] {
			return fmt.Errorf("environment: unknown variable %s; %s", name, instead(name, variables))
		}
	}
	return nil
}

// instead says what may have been meant.
func instead(word string, known map[string]bool) string {
	if near := nearest(word, slices.Sorted(maps.Keys(known))); len(near) > 0 {
		return "did you mean " + strings.Join(near, " or ") + "?"
	}
	return "nmsgsensor --help lists the names of flags, which these have"
}

// list is a flag that may be given more than once.
type list interface{ isList() }

// pick returns the values of a key, in the environment or in the file, and where
// they are from.
func pick(key string, isList bool, file string, settings map[string]any) (values []string, origin string, err error) {
	name := envName(key)
	if v, ok := os.LookupEnv(name); ok && isList {
		return strings.Fields(v), name, nil
	} else if ok {
		return []string{v}, name, nil
	}
	origin = fmt.Sprintf("config %s: %s", file, key)
	var all []any
	switch v := settings[key].(type) {
	case nil:
		return nil, "", nil
	case []any:
		if !isList {
			return nil, "", fmt.Errorf("%s: takes one value, not a list", origin)
		}
		all = v
	default:
		all = []any{v}
	}
	for _, one := range all {
		switch one.(type) {
		case string, bool, int64, float64:
			values = append(values, fmt.Sprint(one))
		default:
			return nil, "", fmt.Errorf("%s: must be a string, a number, a truth value or a list of these", origin)
		}
	}
	return values, origin, nil
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
