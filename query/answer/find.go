package answer

// Hit is one thing that a search found.
type Hit struct {
	ID          string `json:"id"`
	Kind        string `json:"kind" enum:"pipeline,stage,group"`
	Name        string `json:"name"`
	State       State  `json:"state"`
	Pipeline    string `json:"pipeline" doc:"empty for a group that no pipeline holds"`
	Stage       string `json:"stage"`
	System      string `json:"system" doc:"of a group"`
	Destination string `json:"destination" doc:"what a group reads"`
}

// Hits answers GET /api/v1/find, best first.
type Hits struct {
	Hits []Hit `json:"hits"`
	Left int   `json:"left" doc:"found and left out by the limit"`
}
