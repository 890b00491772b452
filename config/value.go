package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bytes is a number of bytes.
type Bytes int64

// units in the order in which a value is tried for printing: the largest that divides it.
var units = []struct {
	name string
	size int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// String writes the number with the largest unit that divides it: "4MiB"; 0 is "0".
func (b Bytes) String() string {
	for _, u := range units {
		if b != 0 && int64(b)%u.size == 0 {
			if u.size == 1 {
				break
			}
			return strconv.FormatInt(int64(b)/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// ParseBytes reads a size: a whole number of bytes, or a number with a unit (B, KiB, MiB, GiB, TiB; case does not matter, and
// K, M, G, T and a space before the unit are accepted). Powers of 1000 ("MB") are refused, because people mean both by them.
func ParseBytes(text string) (Bytes, error) {
	trimmed := strings.TrimSpace(text)
	end := strings.IndexFunc(trimmed, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	number, unit := trimmed, ""
	if end >= 0 {
		number, unit = trimmed[:end], strings.TrimSpace(trimmed[end:])
	}
	size := int64(1)
	if unit != "" {
		i := slices.IndexFunc(units, func(u struct {
			name string
			size int64
		}) bool {
			return strings.EqualFold(unit, u.name) || u.size > 1 && strings.EqualFold(unit, u.name[:1])
		})
		if i < 0 {
			return 0, fmt.Errorf("%q is no size: units are B, KiB, MiB, GiB, TiB", text)
		}
		size = units[i].size
	}
	if whole, err := strconv.ParseInt(number, 10, 64); err == nil {
		if whole > math.MaxInt64/size {
			return 0, fmt.Errorf("%q is too large", text)
		}
		return Bytes(whole * size), nil
	}
	parsed, err := strconv.ParseFloat(number, 64)
	if err != nil || size == 1 {
		return 0, fmt.Errorf("%q is no size: write e.g. 65536, 64KiB or 1.5GiB", text)
	}
	if parsed *= float64(size); parsed >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is too large", text)
	}
	return Bytes(parsed), nil
}

// parse reads text as a value of the key and stores it in c.
func (k *Key) parse(c *Config, text string) error {
	switch field := k.field(c).(type) {
	case *string:
		if k.OneOf != nil && !slices.Contains(k.OneOf, text) {
			return fmt.Errorf("%q is not one of %s", text, strings.Join(k.OneOf, ", "))
		}
		if strings.ContainsRune(text, 0) {
			return fmt.Errorf("%q holds a NUL", text)
		}
		*field = text
	case *int:
		if k.Type == Mode {
			return parseMode(field, text)
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not a whole number", text)
		}
		*field = int(n)
		return k.inRange(n, text)
	case *bool:
		switch strings.ToLower(text) {
		case "true", "1", "yes", "on":
			*field = true
		case "false", "0", "no", "off":
			*field = false
		default:
			return fmt.Errorf("%q is neither true nor false", text)
		}
	case *float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(f) || f < float64(k.Min) || f > float64(k.Max) {
			return fmt.Errorf("%q is not a number from %d to %d", text, k.Min, k.Max)
		}
		*field = f
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is no duration: write e.g. 250ms, 30s or 2m", text)
		}
		*field = d
		return k.inRange(int64(d), text)
	case *Bytes:
		if text == auto && k.Default == auto {
			*field = 0
			return nil
		}
		b, err := ParseBytes(text)
		if err != nil {
			return err
		}
		*field = b
		return k.inRange(int64(b), text)
	case *[]string:
		*field = nil
		for _, item := range strings.Split(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				*field = append(*field, item)
			}
		}
	}
	return nil
}

// auto stands for a size that is worked out at Load.
const auto = "auto"

func parseMode(field *int, text string) error {
	if text == "" {
		*field = -1
		return nil
	}
	n, err := strconv.ParseUint(text, 8, 32)
	if err != nil || n > 0o777 {
		return fmt.Errorf("%q is no octal number from 0 to 777", text)
	}
	*field = int(n)
	return nil
}

// inRange checks Min and Max, and says them in the key's own unit.
func (k *Key) inRange(n int64, text string) error {
	show := func(limit int64) string {
		switch k.Type {
		case Duration:
			return time.Duration(limit).String()
		case Size:
			return Bytes(limit).String()
		}
		return strconv.FormatInt(limit, 10)
	}
	switch {
	case n < k.Min:
		return fmt.Errorf("%q is less than %s", text, show(k.Min))
	case k.Max > 0 && n > k.Max:
		return fmt.Errorf("%q is more than %s", text, show(k.Max))
	}
	return nil
}

// fromTOML turns a decoded TOML value into the text that parse reads, or says that the type does not fit.
func (k *Key) fromTOML(value any) (string, error) {
	mismatch := fmt.Errorf("must be a %s", k.Type)
	switch v := value.(type) {
	case string:
		switch k.Type {
		case String, Duration, Size, Mode:
			return v, nil
		}
	case int64:
		switch k.Type {
		case Int, Size, Float:
			return strconv.FormatInt(v, 10), nil
		case Duration:
			mismatch = fmt.Errorf("must be a duration with a unit, in quotes: write e.g. %q", "30s")
		case Mode:
			mismatch = fmt.Errorf("must be octal digits in quotes: write e.g. %q", "022")
		}
	case bool:
		if k.Type == Bool {
			return strconv.FormatBool(v), nil
		}
	case float64:
		if k.Type == Float {
			return strconv.FormatFloat(v, 'g', -1, 64), nil
		}
	case []any:
		if k.Type != List {
			break
		}
		items := make([]string, 0, len(v))
		for _, item := range v {
			s, ok := item.(string)
			if !ok || strings.Contains(s, ",") {
				return "", mismatch
			}
			items = append(items, s)
		}
		return strings.Join(items, ","), nil
	}
	return "", mismatch
}

// format writes the key's value in c as TOML.
func (k *Key) format(c *Config) string {
	switch field := k.field(c).(type) {
	case *string:
		return quote(*field)
	case *int:
		if k.Type == Mode {
			if *field < 0 {
				return `""`
			}
			return quote(fmt.Sprintf("%03o", *field))
		}
		return strconv.Itoa(*field)
	case *bool:
		return strconv.FormatBool(*field)
	case *float64:
		text := strconv.FormatFloat(*field, 'f', -1, 64)
		if !strings.Contains(text, ".") {
			text += ".0"
		}
		return text
	case *time.Duration:
		return quote(field.String())
	case *Bytes:
		if *field == 0 && k.Default == auto {
			return quote(auto)
		}
		return quote(field.String())
	case *[]string:
		items := make([]string, len(*field))
		for i, item := range *field {
			items[i] = quote(item)
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	return ""
}

// quote writes a TOML basic string. Bytes that are not UTF-8 cannot stand in TOML; they become U+FFFD.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
