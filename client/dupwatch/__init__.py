"""dupwatch: the light client; asks the service and shows what it answers."""
