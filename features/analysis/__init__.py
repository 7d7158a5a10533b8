"""What an analyst would ask of the features: a diagnosis, alarms on history, and where a value comes from."""
