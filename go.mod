module nmsgsensor

go 1.26
