// A loop without end.  The deadline ends it (504); the worker lives on.
export function Get(): string {
	for (let i = 0; ; i++)
		if (i < 0)
			return "never";
}
