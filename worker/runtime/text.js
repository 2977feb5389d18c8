/*
 * String.prototype.normalize, without the Unicode tables: what they would leave
 * alone is answered, the rest refused rather than answered wrongly.
 */
(function (own) {
	'use strict';

	var ascii = /^[\u0000-\u007f]*$/;
	var composed = /^[\u0000-\u02ff]*$/;	/* NFC changes nothing below U+0300 */
	var forms = own.create(null);

	forms.NFC = forms.NFD = forms.NFKC = forms.NFKD = true;

	own.define(String.prototype, 'normalize', function normalize(form) {
		var text = own.String(this);

		if (this === undefined || this === null)
			throw new TypeError('normalize: called on ' + this);
		form = form === undefined ? 'NFC' : own.String(form);
		if (forms[form] !== true)
			throw new RangeError(
			    'The normalization form should be one of NFC, NFD, NFKC, NFKD.');
		if (own.test(ascii, text) || form === 'NFC' && own.test(composed, text))
			return text;
		throw new RangeError('normalize(\'' + form + '\') is available for ' +
		    (form === 'NFC' ? 'Latin' : 'ASCII') +
		    ' text only in this version of tana-edge');
	});
})(__host.own);
