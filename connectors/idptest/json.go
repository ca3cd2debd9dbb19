package idptest

import "encoding/json"

// AppendValue appends the value in JSON.
func AppendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case string:
		return AppendString(b, v)
	}
	j, err := json.Marshal(v)
	if err != nil {
		panic("idptest: " + err.Error())
	}
	return append(b, j...)
}

// AppendString appends the string in JSON.
func AppendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			j, _ := json.Marshal(s)
			return append(b, j...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
