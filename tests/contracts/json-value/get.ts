// A handler may return any value that JSON can hold: it is sent with status 200
// as application/json.
export const Get = () => ({
	text: "grüße 🎉",
	number: 1.5,
	yes: true,
	nothing: null,
	list: [1, [2, [3]]],
	when: new Date(0),
	dropped: undefined,
});
