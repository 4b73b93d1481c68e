// The app's orchestrator for the simulation, which itself never imports the app.
export { convoy } from '../../functions/convoy.ts';
