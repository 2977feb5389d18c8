function answer(r, value) {
	r.headersOut["Content-Type"] = "application/json";
	r.return(200, JSON.stringify(value));
}

export default {
	hello: function (r) { answer(r, hello()); },
	json: function (r) { answer(r, json(r.requestText)); },
	compute: function (r) { answer(r, compute()); },
	body: function (r) {
		r.headersOut["Content-Type"] = "text/plain";
		r.return(200, r.requestText);
	}
};
