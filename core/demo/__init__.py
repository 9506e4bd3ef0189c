"""The demonstration: sample repositories, a dozen tasks, and a scripted model server that stands in for a
provider.
"""
