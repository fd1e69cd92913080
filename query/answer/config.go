package answer

// PipelineConfig answers GET /api/v1/pipelines/{id}/config: what people declared and what weir sees.
type PipelineConfig struct {
	ID       string          `json:"id"`
	Declared string          `json:"declared" doc:"YAML; empty = nothing is declared"`
	Version  int64           `json:"version" doc:"of the declared document; 0 = none"`
	By       string          `json:"by"`
	At       int64           `json:"at" doc:"Unix ms of the last change"`
	Source   string          `json:"source" enum:"none,catalog,file" doc:"who holds it; what stands in a file is changed there"`
	File     string          `json:"file"`
	Proposed string          `json:"proposed" doc:"YAML of what weir found, ready to accept"`
	Diff     []ConfigFinding `json:"diff" doc:"where the two differ, and what the declaration lacks"`
	Editable bool            `json:"editable"`
}

// ConfigFinding is one difference or complaint about a declaration.
type ConfigFinding struct {
	Kind string `json:"kind" enum:"error,missing,extra,differs,note" doc:"missing: declared, not seen; extra: seen, not declared"`
	Line int    `json:"line" doc:"of the declared YAML; 0 = none"`
	Text string `json:"text"`
}

// ConfigCheck answers POST /api/v1/pipelines/{id}/config/check.
type ConfigCheck struct {
	OK       bool            `json:"ok"`
	Findings []ConfigFinding `json:"findings"`
}
