package lib.mail

# Whether every recipient is a colleague. An address that is not plain is none.
inside if {
	is_array(input.args.to)
	every to in input.args.to {
		regex.match(`^[A-Za-z0-9._+-]+@example\.com$`, to)
	}
}
